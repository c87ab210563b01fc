"""Penalties on the size of variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rankcli.backend import tf
from rankcli.config.registry import HOOKS, option
from rankcli.config.types import PositiveFloat
from rankcli.hooks.base import Hook, HookContext, PartOptions
from rankcli.schedules.ramp import Ramp


class _Penalty(Hook):
    """Computes `size(values)` of the variables at some paths."""

    def __init__(
        self, name: str, weight: float | Ramp, paths: tuple[str, ...], size: Callable[[list[Any]], Any]
    ) -> None:
        self.name, self.weight = name, weight
        self._paths, self._size = paths, size

    def penalty(self, variables: Mapping[str, Any]) -> Any:
        return self._size([variables[path] for path in self._paths])


@HOOKS.register("l2")
@dataclass(frozen=True, kw_only=True)
class L2(PartOptions):
    """weight x the sum of the squares of variables, in the loss (ridge; Hoerl and Kennard, 1970).

    Unlike `weight_decay` it is part of the logged loss, and applies to biases and norms, too.
    """

    weight: PositiveFloat | Ramp = option(help="factor on the sum, or {start, end, iterations}")

    def build(self, ctx: HookContext) -> Hook:
        """Build the penalty on the variables of `ctx`."""
        paths = ctx.paths(self.part)
        return _Penalty("l2", self.weight, paths, lambda values: 2.0 * tf.add_n([tf.nn.l2_loss(v) for v in values]))


@HOOKS.register("l1")
@dataclass(frozen=True, kw_only=True)
class L1(PartOptions):
    """weight x the sum of the absolute values of variables, in the loss (lasso; Tibshirani, 1996).

    Its gradient at 0 is 0.
    """

    weight: PositiveFloat | Ramp = option(help="factor on the sum, or {start, end, iterations}")

    def build(self, ctx: HookContext) -> Hook:
        """Build the penalty on the variables of `ctx`."""
        paths = ctx.paths(self.part)
        return _Penalty("l1", self.weight, paths, lambda values: tf.add_n([tf.reduce_sum(tf.abs(v)) for v in values]))
