"""The contract of learning-rate schedules: a factor on the learning rate, a pure function of the global step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class ScheduleContext:
    """The lengths that a schedule needs: `steps` N in all, of which `warmup` w warm up, and `steps_per_iter` per
    iteration.
    """

    steps: int
    warmup: int
    steps_per_iter: int


def warmed_up(context: ScheduleContext, after: Schedule) -> Schedule:
    """Return the schedule (s + 1) / w while s < w, then `after(s)`."""

    def factor(step: int) -> float:
        return (step + 1) / context.warmup if step < context.warmup else after(step)

    return factor
