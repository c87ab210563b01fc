"""Where the time of a run went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rankcli.report.history import History, added
from rankcli.report.numbers import duration, finite, share

NAMES = {
    "conversion": "converting texts to records",
    "start": "building or restoring the model",
    "waiting": "waiting for input",
    "steps": "training steps",
    "validation": "validation on dev",
    "checkpoints": "checkpoints",
    "test": "reranking test",
}


class Part(NamedTuple):
    """One part of the time, in seconds, and its share of all that was recorded."""

    key: str
    seconds: float
    share: float

    @property
    def name(self) -> str:
        """What it is called in the page."""
        return NAMES.get(self.key, self.key)


def parts(history: History, result: Mapping[str, Any]) -> list[Part]:
    """The parts that were recorded, the longest first: those of the history, and `seconds` of the result, which count
    where both have a part.

    A history without times has at least the seconds of its training steps.
    """
    outside = result.get("seconds")
    seconds = {**history.seconds(), **added([outside if isinstance(outside, Mapping) else {}])}
    training = finite(result.get("train_seconds"))
    if "steps" not in seconds and training is not None:
        seconds["steps"] = training
    total = sum(seconds.values())
    found = [Part(key, value, value / total if total else 0.0) for key, value in seconds.items()]
    return sorted(found, key=lambda part: (-part.seconds, part.key))


def missing(found: list[Part]) -> list[str]:
    """The parts of which nothing was recorded, by name."""
    return [name for key, name in NAMES.items() if key not in {part.key for part in found}]


def slowest(found: list[Part]) -> str:
    """The slowest part in words; empty where there are not two to compare."""
    if len(found) < 2:
        return ""
    total = sum(part.seconds for part in found)
    return f"{found[0].name}, {share(found[0].share)} of {duration(total)}"
