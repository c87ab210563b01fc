"""The history of a training from `metrics.jsonl`. Any part of it may be missing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rankcli.report.numbers import finite

RATES = ("pairs_per_second", "tokens_per_second", "padding_share", "waiting_share")
Series = list[tuple[object, object]]


@dataclass(frozen=True)
class RunHistory:
    """The entries of iterations and of validations, and the number of unreadable lines."""

    iterations: tuple[Mapping[str, Any], ...] = ()
    validations: tuple[Mapping[str, Any], ...] = ()
    unreadable: int = 0

    @classmethod
    def parse(cls, content: str) -> RunHistory:
        """Parse the lines of the file. Lines without a valid entry are counted."""
        lines = [line for line in content.splitlines() if line.strip()]
        entries = [entry for entry in map(_entry, lines) if entry is not None]
        return cls(
            tuple(entry for entry in entries if "dev" not in entry),
            tuple(entry for entry in entries if "dev" in entry),
            len(lines) - len(entries),
        )

    @property
    def loss(self) -> Series:
        """The training loss by iteration."""
        return [(entry["iter"], entry.get("loss")) for entry in self.iterations]

    def learning_rates(self) -> dict[str, Series]:
        """Return the learning rate by iteration, for every optimizer group."""
        return _by_name(self.iterations, "lr")

    def dev(self) -> dict[str, Series]:
        """Return the dev metrics by iteration; 0 is before training."""
        return _by_name(self.validations, "dev")

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each part of the training, as far as they were recorded."""
        entries = [*self.iterations, *self.validations]
        return added(entry["time"] for entry in entries if isinstance(entry.get("time"), Mapping))

    def rates(self) -> dict[str, float]:
        """Return the median over iterations of every recorded rate."""
        found = {key: [finite(entry.get(key)) for entry in self.iterations] for key in RATES}
        known = {key: [value for value in values if value is not None] for key, values in found.items()}
        return {key: median(values) for key, values in known.items() if values}


def added(parts: Any) -> dict[str, float]:
    """Add up several mappings to seconds by key. Other values than seconds are left out."""
    sums: dict[str, list[float]] = {}
    for mapping in parts:
        for key, value in mapping.items():
            seconds = finite(value)
            if seconds is not None and seconds >= 0:
                sums.setdefault(str(key), []).append(seconds)
    return {key: math.fsum(values) for key, values in sums.items()}


def _entry(line: str) -> Mapping[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and finite(entry.get("iter")) is not None else None


def _by_name(entries: Sequence[Mapping[str, Any]], key: str) -> dict[str, Series]:
    found: dict[str, Series] = {}
    for entry in entries:
        values = entry.get(key)
        for name, value in values.items() if isinstance(values, Mapping) else ():
            found.setdefault(name, []).append((entry["iter"], value))
    return found
