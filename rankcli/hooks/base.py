"""What a hook is built from, and the three things it may be: a loss on scores, a penalty on variables, a change of
gradients.

The training step calls them on every device, so they compute with what they are given and keep nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from rankcli.backend import tf
from rankcli.config.registry import option
from rankcli.config.types import check_regex
from rankcli.errors import ConfigError
from rankcli.shapes import Batch, OutputType


@dataclass(frozen=True, kw_only=True)
class PartOptions:
    """The option of every hook that may be about a part of the model only."""

    part: str = option("", "regular expression, looked for in paths such as `encoder/layer_0/output/kernel`")

    def __post_init__(self) -> None:
        check_regex("part", self.part)


@dataclass(frozen=True)
class HookContext:
    """What a hook is built from: the variables that are trained by path, the paths of each optimizer group, and what
    the reranker's scores are.
    """

    variables: Mapping[str, Any]
    groups: Mapping[str, Sequence[str]]
    output_type: OutputType = "logits"

    def paths(self, part: str) -> tuple[str, ...]:
        """The paths that a component's `part` is found in; ConfigError where there is none."""
        found = tuple(path for path in self.variables if re.search(part, path))
        if not found:
            raise ConfigError(
                f"part {part!r} is found in no path of a variable that is trained",
                where="trainer.hooks",
                fix=f"the paths are {', '.join(self.variables)}",
            )
        return found


@dataclass(frozen=True)
class ScoreLoss:
    """`function(batch, scores [B, K]) -> [B]`; `weight` times its mean over all groups is added to what is minimised.

    With several tasks it is added to each of them.
    """

    name: str
    weight: float
    function: Callable[[Batch, Any], Any]


@dataclass(frozen=True)
class Penalty:
    """`function(values) -> scalar` of the variables at `paths`; `weight` times it is added to what is minimised.

    It is computed once a step, whatever the number of devices and micro-batches.
    """

    name: str
    weight: float
    paths: tuple[str, ...]
    function: Callable[[Sequence[Any]], Any]


@dataclass(frozen=True)
class Gradients:
    """The gradients of a step, summed over devices and micro-batches, by path; the paths of each group; and whether
    the group is trained in this step (a boolean scalar each).
    """

    values: Mapping[str, Any]
    groups: Mapping[str, Sequence[str]]
    active: Mapping[str, Any]

    def norm(self, paths: Iterable[str]) -> Any:
        """The Euclidean norm of the gradients at `paths`, those of groups that are not trained yet left out."""
        wanted = set(paths)
        squares = []
        for group, members in self.groups.items():
            halves = [tf.nn.l2_loss(self.values[path]) for path in members if path in wanted]
            if halves:
                squares.append(tf.where(self.active[group], 2.0 * tf.add_n(halves), 0.0))
        return tf.sqrt(tf.add_n(squares))

    def scaled(self, factor: Any, paths: Iterable[str]) -> Gradients:
        """The same with those at `paths` times `factor`."""
        wanted = set(paths)
        values = {path: value * factor if path in wanted else value for path, value in self.values.items()}
        return replace(self, values=values)


class GradientHook(Protocol):
    """Sees the gradients after they are summed and unscaled and before the update, and returns those to go on with.

    `measures` names the scalars that it returns beside them; the mean of each over an iteration is logged.
    """

    measures: tuple[str, ...]

    def __call__(self, gradients: Gradients) -> tuple[Gradients, list[Any]]:
        """The gradients to go on with, and the values of `measures`."""


Hook = ScoreLoss | Penalty | GradientHook
