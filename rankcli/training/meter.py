"""The throughput of a training, and the time of its parts."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rankcli.shapes import Batch, Field, Layout

RECENT_S = 10.0  # the progress line shows rates over the last seconds of training
WAITING, STEPS = "waiting", "steps"  # rates are taken over these parts of the time


class _Work(NamedTuple):
    """Pairs, tokens and token places (padding included) of some steps, and their seconds, waiting included."""

    pairs: int = 0
    tokens: int = 0
    places: int = 0
    waiting: float = 0.0
    seconds: float = 0.0

    def plus(self, other: _Work) -> _Work:
        return _Work._make(mine + its for mine, its in zip(self, other, strict=True))

    def minus(self, other: _Work) -> _Work:
        return _Work._make(mine - its for mine, its in zip(self, other, strict=True))


class Meter:
    """Counts work and time: `lap(part)` adds the time since the last lap (or the start) to `part`.

    Call `lap("waiting")` when the batch of a step is ready, then `count(batches)`, and `lap("steps")` when the step is
    done. Rates use these two parts only, so pauses for validation or checkpoints do not lower them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._last = clock()
        self._seconds: dict[str, float] = {}  # by part, since the last `times`
        self._total = self._noted = _Work()  # in all, and when `rates` were last taken
        self._recent: deque[_Work] = deque([self._total])  # totals after the last steps

    def lap(self, part: str) -> None:
        """Add the time since the last lap to `part`."""
        now = self.clock()
        spent, self._last = now - self._last, now
        self._seconds[part] = self._seconds.get(part, 0.0) + spent
        if part in (WAITING, STEPS):
            self._total = self._total.plus(_Work(waiting=spent if part == WAITING else 0.0, seconds=spent))
        if part == STEPS:
            self._note()

    def _note(self) -> None:
        self._recent.append(self._total)
        while len(self._recent) > 2 and self._total.seconds - self._recent[1].seconds >= RECENT_S:
            self._recent.popleft()

    def count(self, parts: Sequence[Mapping[str, Batch]]) -> None:
        """Count the batches of a step: one of every task per replica and micro-batch."""
        batches = [batch for part in parts for batch in part.values()]
        fields = [field for batch in batches for field in batch.fields.values()]
        layouts = [field.layout for field in fields if isinstance(field, Field) and isinstance(field.layout, Layout)]
        self._total = self._total.plus(
            _Work(
                pairs=sum(int(np.count_nonzero(batch.doc_mask)) for batch in batches),
                tokens=sum(int(np.count_nonzero(layout.sequence >= 0)) for layout in layouts),
                places=sum(layout.ids.size for layout in layouts),
            )
        )

    def fields(self) -> dict[str, str]:
        """Return rates and shares of the last seconds for a progress line, the most important first."""
        found = _rates(self._total.minus(self._recent[0]))
        shown: dict[str, tuple[str, Callable[[float], str]]] = {
            "pairs_per_second": ("pairs/s", _count),
            "tokens_per_second": ("tokens/s", _count),
            "padding_share": ("pad", _percent),
            "waiting_share": ("wait", _percent),
        }
        return {name: text(found[key]) for key, (name, text) in shown.items() if key in found}

    def rates(self) -> dict[str, float]:
        """Return rates and shares since the last call, for an entry of `metrics.jsonl`; empty without steps.

        `pairs_per_second`, `tokens_per_second`, `padding_share` of the token places, `waiting_share` of the time.
        """
        found = _rates(self._total.minus(self._noted))
        self._noted = self._total
        return {key: round(value, 4) for key, value in found.items()}

    def times(self) -> dict[str, float]:
        """Return seconds by part since the last call, for an entry of `metrics.jsonl`."""
        found, self._seconds = self._seconds, {}
        return {part: round(seconds, 3) for part, seconds in found.items()}


def _rates(work: _Work) -> dict[str, float]:
    if work.seconds <= 0 or not work.pairs:
        return {}
    found = {"pairs_per_second": work.pairs / work.seconds}
    if work.places:  # fields of numbers have no tokens
        found["tokens_per_second"] = work.tokens / work.seconds
        found["padding_share"] = 1 - work.tokens / work.places
    return {**found, "waiting_share": work.waiting / work.seconds}


def _count(number: float) -> str:
    """Format a number with two to four digits: `8.1`, `812`, `9876`, `104k`, `1.2M`."""
    if number < 10:
        return f"{number:.1f}"
    if number < 10_000:
        return f"{number:.0f}"
    return f"{number / 1e3:.0f}k" if number < 999_500 else f"{number / 1e6:.1f}M"


def _percent(share: float) -> str:
    return f"{share:.0%}"
