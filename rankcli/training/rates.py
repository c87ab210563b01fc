"""Numbers that the host computes for a step: learning rates of optimizer groups, factors of the terms of the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rankcli.schedules.ramp import Ramp, weight_at
from rankcli.training.groups import Group
from rankcli.training.settings import Settings


class Rates:
    """The learning rates of optimizer groups; `starts` has the global step at which each begins to train."""

    def __init__(self, groups: Sequence[Group], options: Settings) -> None:
        self.starts = {group.name: group.starts_at(options.steps_per_iter) for group in groups}
        self._factors = {group.name: (group.lr, options.factor(group.options.schedule)) for group in groups}

    def __call__(self, step: int) -> dict[str, float]:
        """Return the learning rate of each group at a global step; 0 until it starts to train."""
        return {
            name: lr * factor(step) if step >= self.starts[name] else 0.0
            for name, (lr, factor) in self._factors.items()
        }

    def active(self, step: int) -> list[bool]:
        """Tell for each group whether it trains at a global step."""
        return [step >= start for start in self.starts.values()]


class Weights:
    """The factors of the terms of the loss: the task's weight times the factor of the term, a number or a ramp.

    `terms` has the task and the factor of each term. A penalty has no task, so it has its own factor alone.
    """

    def __init__(self, terms: Sequence[tuple[str, float | Ramp]], options: Settings) -> None:
        self._terms, self._options = terms, options

    def __call__(self, step: int) -> npt.NDArray[np.float32]:
        """Return the factors at a global step, float32 [T]."""
        iterations = step / self._options.steps_per_iter
        tasks = {task: each.weight for task, each in self._options.task_groups_and_weights(step).items()}
        factors: list[Any] = [
            np.float32(tasks.get(task, 1.0)) * np.float32(weight_at(weight, iterations)) for task, weight in self._terms
        ]
        return np.array(factors, np.float32)
