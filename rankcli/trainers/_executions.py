"""Which steps the devices make at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Executions:
    """How many steps come together, from step `start` on: `most`, but fewer at the end of an iteration of `per_iter`.

    Cuts depend on the step alone, and so do the shapes of batches: a training that is resumed at one makes the same.
    """

    start: int
    steps: int
    per_iter: int
    most: int

    def __iter__(self) -> Iterator[int]:
        step = self.start
        while step < self.steps:
            within = step % self.per_iter
            count = min(self.most - within % self.most, self.per_iter - within)
            yield count
            step += count
