"""Stochastic gradient descent, on TensorFlow's fused kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import OPTIMIZERS, option
from rankcli.config.types import Rate
from rankcli.optimizers.base import Member, Optimizer, Tensor


@OPTIMIZERS.register("sgd")
@dataclass(frozen=True, kw_only=True)
class SGD:
    """b = momentum b + g; w -= lr b, or with `nesterov` w -= lr (g + momentum b); b starts at 0.

    The formula of PyTorch (Sutskever et al., 2013, with the learning rate outside of b). Weight decay is added to g.
    """

    version: ClassVar[int] = 1
    weight_decay: ClassVar[float] = 0.0
    momentum: Rate = option(0.0, "share of b that is kept; 0: no slots")
    nesterov: bool = option(False, "look one step of momentum ahead")

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")

    def build(self, members: Mapping[str, Member]) -> Optimizer:
        """Return the optimizer of one group."""
        return MomentumOptimizer(members, self.momentum, self.nesterov) if self.momentum else PlainOptimizer(members)


class PlainOptimizer(Optimizer):
    """SGD without slots."""

    def coefficients(self, rate: Tensor, apply: Tensor) -> tuple[Tensor, ...]:
        """Return the learning rate."""
        return (tf.where(apply, rate, 0.0),)

    def change(
        self, member: Member, variable: Any, gradient: Tensor, slots: Sequence[Any], apply: Tensor, *scalars: Tensor
    ) -> None:
        """Update one variable on one device."""
        tf.raw_ops.ResourceApplyGradientDescent(
            var=variable.handle,
            alpha=scalars[0] * member.scale,
            delta=tf.where(apply, _decayed(member, variable, gradient), 0.0),
        )


class MomentumOptimizer(Optimizer):
    """SGD with the slot `momentum`."""

    slots: ClassVar[tuple[str, ...]] = ("momentum",)

    def __init__(self, members: Mapping[str, Member], momentum: float, nesterov: bool) -> None:
        super().__init__(members)
        self._momentum, self._nesterov = momentum, nesterov

    def coefficients(self, rate: Tensor, apply: Tensor) -> tuple[Tensor, ...]:
        """Return the learning rate and the momentum."""
        return tf.where(apply, rate, 0.0), tf.where(apply, self._momentum, 1.0)

    def change(
        self, member: Member, variable: Any, gradient: Tensor, slots: Sequence[Any], apply: Tensor, *scalars: Tensor
    ) -> None:
        """Update one variable on one device."""
        rate, momentum = scalars
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=slots[0].handle,
            lr=rate * member.scale,
            grad=tf.where(apply, _decayed(member, variable, gradient), -0.0),  # adding 0 would change a slot of -0
            momentum=momentum,
            use_nesterov=self._nesterov,
        )


def _decayed(member: Member, variable: Any, gradient: Tensor) -> Tensor:
    return gradient + member.weight_decay * variable if member.weight_decay else gradient
