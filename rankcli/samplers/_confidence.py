"""The confidence in each document of a session that its click, or that there is none, means something."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

Confidence = Literal["none", "window", "position", "ips", "dwell"]
LEAST = 0.05  # of `window` and `dwell`: a click is never worth nothing


def window(scores: Sequence[float], clicked: Sequence[bool], width: int = 3) -> list[float]:
    """Embedding Studio's confidences by the clicks and scores of the neighbours, without its scaling to 0..1, which
    made a lone click worth 0.
    """
    found = []
    for place, (score, click) in enumerate(zip(scores, clicked, strict=True)):
        near = slice(max(0, place - width // 2), place + width // 2 + 1)
        share, mean = float(np.mean(clicked[near])), float(np.mean(scores[near]))
        differs = min(abs(score - mean) / abs(mean), 1.0) if mean else 0.0
        agree = (
            (1 - differs) * share + (1 - share) * differs if click else (1 - share) * (1 - differs) + share * differs
        )
        found.append(agree * (math.exp(-3 * (place + 1) / len(scores) - 0.3) + 0.25))
    return [min(max(value, LEAST), 1.0) for value in found]


def confidences(kind: Confidence, session: Any, seen: Sequence[float], clip: float, dwell: float) -> list[float]:
    """A number above 0 for each document of a session; `seen` are the chances that its positions are looked at.

    `ips`: a click counts 1 / seen, at most `clip`. `position`: a document without a click counts as much as it is
    seen. `dwell`: a click counts its share of `dwell` seconds; one of unknown length counts 1.
    """
    clicked = [weight > 0 for weight in session.clicked]
    if kind == "window":
        return window(session.scores, clicked)
    if kind == "ips":
        return [min(1 / chance, clip) if click else 1.0 for click, chance in zip(clicked, seen, strict=True)]
    if kind == "position":
        return [1.0 if click else chance for click, chance in zip(clicked, seen, strict=True)]
    if kind == "dwell":
        times = [dwell if time is None else time for time in session.dwell]
        return [min(max(time / dwell, LEAST), 1.0) if c else 1.0 for c, time in zip(clicked, times, strict=True)]
    return [1.0] * len(clicked)
