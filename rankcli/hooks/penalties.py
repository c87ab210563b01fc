"""Penalties on the size of variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rankcli.backend import tf
from rankcli.config.registry import HOOKS, option
from rankcli.config.types import PositiveFloat
from rankcli.hooks.base import HookContext, PartOptions, Penalty


@HOOKS.register("l2")
@dataclass(frozen=True, kw_only=True)
class L2(PartOptions):
    """weight x the sum of the squares of variables, in the loss (ridge; Hoerl and Kennard, 1970).

    Unlike `weight_decay` it counts in the loss that is logged, biases and norms included.
    """

    version: ClassVar[int] = 1
    weight: PositiveFloat = option(help="factor on the sum")

    def build(self, ctx: HookContext) -> Penalty:
        """The penalty over the variables of `ctx`."""
        return Penalty(
            "l2", self.weight, ctx.paths(self.part), lambda values: 2.0 * tf.add_n([tf.nn.l2_loss(v) for v in values])
        )


@HOOKS.register("l1")
@dataclass(frozen=True, kw_only=True)
class L1(PartOptions):
    """weight x the sum of the absolute values of variables, in the loss (lasso; Tibshirani, 1996).

    Its gradient at 0 is 0.
    """

    version: ClassVar[int] = 1
    weight: PositiveFloat = option(help="factor on the sum")

    def build(self, ctx: HookContext) -> Penalty:
        """The penalty over the variables of `ctx`."""
        return Penalty(
            "l1", self.weight, ctx.paths(self.part), lambda values: tf.add_n([tf.reduce_sum(tf.abs(v)) for v in values])
        )
