"""Which steps the devices make at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Executions:
    """How many steps come together, from step `start` on: `most`, but fewer at the end of an iteration of `per_iter`.

    Batches are shaped together, too. So a training that is resumed where two executions meet, which is where
    checkpoints are written, makes the same as one that was not.
    """

    start: int
    steps: int
    per_iter: int
    most: int

    def __iter__(self) -> Iterator[int]:
        step = self.start
        while step < self.steps:
            count = min(self.most, self.per_iter - step % self.per_iter)
            yield count
            step += count
