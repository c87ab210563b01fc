"""The trainer of several tasks for one reranker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rankcli.config.registry import EXTRACTORS, LOSSES, SAMPLERS, TRAINERS, component, option
from rankcli.config.types import NonNegativeInt, PositiveFloat, PositiveInt
from rankcli.schedules.ramp import Ramp, unreached, weight_at
from rankcli.trainers.tensorflow import TensorflowTrainer
from rankcli.training.base import TRAIN, Share


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """The data and the loss of one task."""

    sampler: Any = component(SAMPLERS, None, "how its groups are drawn; needed")
    extractor: Any = component(EXTRACTORS, None, "how its texts become token sequences; default: the run's")
    loss: Any = component(LOSSES, "lce", "what it minimises")
    weight: PositiveFloat | Ramp = option(1.0, "factor on its loss, or {start, end, iterations}")
    batch: PositiveInt = option(4, "its groups per optimizer step, over all replicas")

    def __post_init__(self) -> None:
        if self.sampler is None:
            raise ValueError("sampler is needed: how the groups of the task are drawn")


@TRAINERS.register("multiple")
@dataclass(frozen=True, kw_only=True)
class MultipleTrainer(TensorflowTrainer):
    """The `tensorflow` trainer with several tasks.

    Every step takes a batch of each task and makes one update by the weighted sum of their losses.
    """

    tasks: dict[str, TaskOptions] = option(help="{NAME: {sampler, extractor, loss, weight, batch}}")
    batch: NonNegativeInt = option(0, "groups per optimizer step: the sum of the tasks' batches, leave it out")
    loss: Any = component(LOSSES, None, "every task has its own, leave it out")

    def __post_init__(self) -> None:
        self._check_tasks()
        object.__setattr__(self, "batch", sum(self.batches.values()))
        super().__post_init__()

    def _check_tasks(self) -> None:
        if not self.tasks:
            raise ValueError("tasks is empty: name at least one")
        if TRAIN in self.tasks:
            raise ValueError(f"no task can be called {TRAIN!r}: that is the one of a trainer without tasks")
        if self.loss is not None:
            raise ValueError("every task has a loss of its own: leave `loss` of the trainer out")
        total = sum(self.batches.values())
        if self.batch not in (0, total):
            raise ValueError(f"batch = {self.batch}, but the tasks' batches are {total} together: leave `batch` out")
        for name, task in self.tasks.items():
            if task.batch % self.accumulate:
                raise ValueError(
                    f"batch = {task.batch} of task {name!r} cannot be divided into accumulate = {self.accumulate} parts"
                )
            if why := unreached(task.weight, self.niters):
                raise ValueError(f"the weight of task {name!r} {why}")

    @property
    def several(self) -> Mapping[str, Any]:
        """The options of the tasks."""
        return self.tasks

    @property
    def batches(self) -> dict[str, int]:
        """The number of groups of each task in a step."""
        return {name: task.batch for name, task in self.tasks.items()}

    def task_groups_and_weights(self, step: int) -> dict[str, Share]:
        """Return the number of groups and the weight of each task at a global step."""
        iterations = step / self.steps_per_iter
        return {name: Share(task.batch, weight_at(task.weight, iterations)) for name, task in self.tasks.items()}

    def losses(self) -> dict[str, Any]:
        """Return the loss (options) of each task."""
        return {name: task.loss for name, task in self.tasks.items()}
