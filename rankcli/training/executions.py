"""The number of steps per call of the devices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Executions:
    """The number of steps per execution, from step `start` on: `most`, but fewer at the end of an iteration of
    `per_iter`.

    Batches of one execution get a common shape. Checkpoints are only written between executions, so a resumed training
    makes the same executions as an uninterrupted one.
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
