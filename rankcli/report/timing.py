"""The time of a run by parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rankcli.report.history import RunHistory, added
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


class TimeShare(NamedTuple):
    """One part of the time, in seconds, and its share of the recorded time."""

    key: str
    seconds: float
    share: float

    @property
    def name(self) -> str:
        """Its name on the page."""
        return NAMES.get(self.key, self.key)


def parts(history: RunHistory, result: Mapping[str, Any]) -> list[TimeShare]:
    """Return the recorded parts, the longest first, from the history and from `seconds` of the result.

    Where both have a part, the result counts. Without times in the history, the seconds of training steps are those of
    the result.
    """
    outside = result.get("seconds")
    seconds = {**history.seconds(), **added([outside if isinstance(outside, Mapping) else {}])}
    training = finite(result.get("train_seconds"))
    if "steps" not in seconds and training is not None:
        seconds["steps"] = training
    total = sum(seconds.values())
    found = [TimeShare(key, value, value / total if total else 0.0) for key, value in seconds.items()]
    return sorted(found, key=lambda part: (-part.seconds, part.key))


def missing(found: list[TimeShare]) -> list[str]:
    """Return the names of the parts that were not recorded."""
    return [name for key, name in NAMES.items() if key not in {part.key for part in found}]


def slowest(found: list[TimeShare]) -> str:
    """Describe the slowest part in words; empty if there are fewer than two parts."""
    if len(found) < 2:
        return ""
    total = sum(part.seconds for part in found)
    return f"{found[0].name}, {share(found[0].share)} of {duration(total)}"
