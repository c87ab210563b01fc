"""Several tasks for one reranker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.config.registry import EXTRACTORS, LOSSES, SAMPLERS, TRAINERS, component, option
from rankcli.config.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from rankcli.trainers.tensorflow import TensorflowTrainer
from rankcli.training.base import TRAIN, Share


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """A weight that goes in a straight line from one value to another, and then stays there."""

    start: NonNegativeFloat = option(help="the weight in the first step")
    end: NonNegativeFloat = option(help="the weight after `iterations`")
    iterations: PositiveFloat = option(help="how long it changes")

    def __post_init__(self) -> None:
        if self.start == self.end:
            raise ValueError("start and end are equal: say the weight as a number")


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """What one task trains on and minimises."""

    sampler: Any = component(SAMPLERS, None, "how its groups are drawn; needed")
    extractor: Any = component(EXTRACTORS, None, "how its texts become token sequences; default: the run's")
    loss: Any = component(LOSSES, "lce", "what it minimises")
    weight: PositiveFloat | Ramp = option(1.0, "factor on its loss, or {start, end, iterations}")
    batch: PositiveInt = option(4, "its groups per optimizer step, over all replicas")

    def __post_init__(self) -> None:
        if self.sampler is None:
            raise ValueError("sampler is needed: how the groups of the task are drawn")

    def weight_at(self, iterations: float) -> float:
        """The factor on its loss after some iterations."""
        if not isinstance(self.weight, Ramp):
            return self.weight
        share = min(iterations / self.weight.iterations, 1.0)
        return (1.0 - share) * self.weight.start + share * self.weight.end


@TRAINERS.register("multiple")
@dataclass(frozen=True, kw_only=True)
class MultipleTrainer(TensorflowTrainer):
    """The `tensorflow` trainer with several tasks: every step takes a batch of each and makes one update by the
    weighted sum of their losses.
    """

    version: ClassVar[int] = 1
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
            if isinstance(task.weight, Ramp) and task.weight.iterations > self.niters:
                raise ValueError(
                    f"the weight of task {name!r} changes for {task.weight.iterations:g} iterations, but there are "
                    f"{self.niters}: it would never be {task.weight.end:g}"
                )

    @property
    def batches(self) -> dict[str, int]:
        """The groups of each task in a step."""
        return {name: task.batch for name, task in self.tasks.items()}

    def shares(self, step: int) -> dict[str, Share]:
        """The groups and the weight of each task at a global step."""
        iterations = step / self.steps_per_iter
        return {name: Share(task.batch, task.weight_at(iterations)) for name, task in self.tasks.items()}

    def losses(self) -> dict[str, Any]:
        """The loss of each task."""
        return {name: task.loss for name, task in self.tasks.items()}
