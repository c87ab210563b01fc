"""The contract of hooks: parts of the training step on the devices, in pure TensorFlow."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import option
from rankcli.config.types import check_regex
from rankcli.errors import ConfigError
from rankcli.schedules.ramp import Ramp
from rankcli.shapes import Batch, Outputs, StepContext


@dataclass(frozen=True, kw_only=True)
class HookOptions(ABC):
    """The base class of a hook's options.

    `columns` names the columns of the batch that it reads, `reads` the vectors of the reranker. `in_batch` is True for
    a hook that compares groups of a batch with each other, or needs their vectors in `after`; then batches have `keys`.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[str, ...]] = ()
    in_batch: ClassVar[bool] = False

    @property
    def losses(self) -> Mapping[str, Any]:
        """The losses (options) that it computes on every task, by the name of the option."""
        return {}

    @abstractmethod
    def build(self, ctx: HookContext) -> Hook:
        """Build the hook, in the scope of the training's devices."""


@dataclass(frozen=True, kw_only=True)
class PartOptions(HookOptions):
    """The option of every hook that can be restricted to a part of the model."""

    part: str = option("", "regular expression, looked for in paths such as `encoder/layer_0/output/kernel`")

    def __post_init__(self) -> None:
        check_regex("part", self.part)


@dataclass(frozen=True)
class HookContext:
    """The inputs that a hook is built from.

    `variables` are the trained variables by path, `groups` has the paths of each optimizer group. `steps` counts the
    steps of the training; `width(name)` is the size of the reranker's vectors `name`.
    """

    variables: Mapping[str, Any]
    groups: Mapping[str, Sequence[str]]
    steps: int = 0
    width: Callable[[str], int] = lambda name: 0

    def paths(self, part: str) -> tuple[str, ...]:
        """Return the paths that match a hook's `part`; ConfigError if there is none."""
        found = tuple(path for path in self.variables if re.search(part, path))
        if not found:
            raise ConfigError(
                f"part {part!r} is found in no path of a variable that is trained",
                where="trainer.hooks",
                fix=f"the paths are {', '.join(self.variables)}",
            )
        return found


@dataclass(frozen=True)
class Gradients:
    """The gradients of a step by path, summed over devices and micro-batches.

    `groups` has the paths of each optimizer group, `active` a boolean scalar per group: True if it is trained in this
    step. `noted` has the scalars that the current hook logs.
    """

    values: Mapping[str, Any]
    groups: Mapping[str, Sequence[str]]
    active: Mapping[str, Any]
    noted: Mapping[str, Any] = field(default_factory=dict)

    def norm(self, paths: Iterable[str]) -> Any:
        """Return the Euclidean norm of the gradients at `paths`, without those of groups that are not trained in this
        step.
        """
        wanted = set(paths)
        squares = []
        for group, members in self.groups.items():
            halves = [tf.nn.l2_loss(self.values[path]) for path in members if path in wanted]
            if halves:
                squares.append(tf.where(self.active[group], 2.0 * tf.add_n(halves), 0.0))
        return tf.sqrt(tf.add_n(squares))

    def scaled(self, factor: Any, paths: Iterable[str]) -> Gradients:
        """Return a copy with the gradients at `paths` multiplied by `factor`."""
        wanted = set(paths)
        values = {path: value * factor if path in wanted else value for path, value in self.values.items()}
        return replace(self, values=values)

    def noting(self, noted: Mapping[str, Any]) -> Gradients:
        """Return a copy with scalars to log, by the names in the hook's `notes`."""
        return replace(self, noted=noted)


class Hook:
    """One part of the training step. A subclass overrides the methods that it needs.

    They run on every device. With several tasks, `loss`, `measure` and `after` run for each task. `name` is the name of
    the loss or penalty in the log, and `weight` its factor, a number or a ramp. `measures` are the names that `measure`
    returns, `notes` those that `gradients` notes; with `progress_bar` the progress line shows them, too. `state` is a
    module with variables, or nests of them, as attributes: checkpoints save it, `loss` may read it and `after` changes
    it.
    """

    name: str = ""
    weight: float | Ramp = 1.0
    measures: Sequence[str] = ()
    notes: Sequence[str] = ()
    progress_bar: bool = False
    state: Any = None

    def loss(self, batch: Batch, outputs: Outputs, step: StepContext) -> Any:
        """Return [B], one value per group. `weight` times its mean over all groups is added to the objective."""

    def penalty(self, variables: Mapping[str, Any]) -> Any:
        """Return a scalar of the trained variables. `weight` times it is added to the objective.

        It is computed once per step, for any number of devices and micro-batches.
        """

    def gradients(self, gradients: Gradients) -> Gradients:
        """Return changed gradients. The input is summed, unscaled, and already changed by the hooks before this one."""
        return gradients

    def measure(self, batch: Batch, outputs: Outputs, step: StepContext) -> Mapping[str, tuple[Any, Any]]:
        """Return a sum and a count (float32 scalars) for each of `measures`.

        Sums and counts are added up over micro-batches, devices and the steps of an iteration; their ratio is logged.
        """
        return {}

    def after(self, batch: Batch, outputs: Outputs, step: StepContext) -> Mapping[str, Any]:
        """Return the new values of `state`, by attribute, after the step's gradients. A step that is not finite changes
        nothing.

        It is called once per step. The values must be equal on every replica: compute them from results of
        `step.gather`. With micro-batches it gets the labels, columns and scores of all of them, but neither fields nor
        vectors.
        """
        return {}


def has(hook: Hook, method: str) -> bool:
    """Tell whether a hook overrides a method."""
    return getattr(type(hook), method) is not getattr(Hook, method)
