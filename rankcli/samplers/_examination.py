"""The position-based model of clicks: a document is clicked if its position is looked at and it attracts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rankcli.shapes import Ints

Array = npt.NDArray[np.float64]
ROUNDS = 100


def posteriors(seen: Array, attracts: Array, clicks: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """The chances that a document was looked at, and that it attracts, given what was clicked; 1 both for a click.

    Wang et al., "Position Bias Estimation for Unbiased Learning to Rank in Personal Search" (WSDM 2018), eq. 1.
    """
    unclicked = np.maximum(1 - seen * attracts, 1e-12)
    examined = np.where(clicks, 1.0, seen * (1 - attracts) / unclicked)
    return examined, np.where(clicks, 1.0, (1 - seen) * attracts / unclicked)


def estimate(pairs: Ints, places: Ints, clicks: npt.NDArray[np.bool_]) -> Array:
    """The chances that positions are looked at, relative to the highest: by EM, with one attraction per pair.

    `pairs` and `places` number the pair of query and document, and the position, of each shown document. Positions
    differ in nothing but their clicks unless pairs were shown at several: the estimate leans on those.
    """
    shown_at, shown = np.bincount(places), np.bincount(pairs)
    seen, attracts = np.full(len(shown_at), 0.5), np.full(len(shown), 0.5)
    for _ in range(ROUNDS):
        examined, relevant = posteriors(seen[places], attracts[pairs], clicks)
        seen = np.bincount(places, examined) / np.maximum(shown_at, 1)
        attracts = np.bincount(pairs, relevant) / shown
    relative: Array = np.maximum(seen / seen.max(), 1e-3)
    return relative


def estimated(sessions: Sequence[Any]) -> tuple[float, ...]:
    """The chances by position from the clicks of sessions."""
    keys: dict[tuple[str, str], int] = {}
    rows = [
        (keys.setdefault((each.qid, docid), len(keys)), position - 1, clicked)
        for each in sessions
        for docid, position, clicked in zip(each.docids, each.positions, each.clicked, strict=True)
    ]
    pairs, places, clicks = (np.array(column) for column in zip(*rows, strict=True))
    return tuple(estimate(pairs, places, clicks > 0).tolist())
