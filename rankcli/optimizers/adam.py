"""Adam and AdamW, on TensorFlow's fused kernel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rankcli.backend import tf
from rankcli.config.registry import OPTIMIZERS, option
from rankcli.config.types import PositiveFloat, Rate
from rankcli.optimizers.base import Member, Optimizer, Tensor

# With beta 1 the kernel adds (g - m) * 0 to m and (g * g - v) * 0 to v. For this g these products are -0 and 0, which
# change neither. With a gradient of 0, an m of -0 would become 0; with one that is not finite, both would become NaN.
KEEPS_SLOTS = -1e19


@OPTIMIZERS.register("adam")
@dataclass(frozen=True, kw_only=True)
class Adam:
    """w -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon) (Kingma and Ba, 2015, end of section 2).

    m and v are running means of the gradient and of its square. Weight decay is added to the gradient, so it enters m
    and v, too; AdamW keeps it separate.
    """

    version: ClassVar[int] = 1
    weight_decay: ClassVar[float] = 0.0
    beta1: Rate = option(0.9, "share of the old mean of gradients that is kept")
    beta2: Rate = option(0.999, "share of the old mean of squared gradients that is kept")
    epsilon: PositiveFloat = option(1e-7, "added to the root of v")

    def build(self, members: Mapping[str, Member]) -> Optimizer:
        """Return the optimizer of one group."""
        return AdamOptimizer(members, self.beta1, self.beta2, self.epsilon)


@OPTIMIZERS.register("adamw")
@dataclass(frozen=True, kw_only=True)
class AdamW:
    """w -= lr weight_decay w; w -= lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon).

    Loshchilov and Hutter (2019), with decoupled weight decay; the formula and defaults of PyTorch.
    """

    version: ClassVar[int] = 1
    weight_decay: ClassVar[float] = 0.01
    beta1: Rate = option(0.9, "share of the old mean of gradients that is kept")
    beta2: Rate = option(0.999, "share of the old mean of squared gradients that is kept")
    epsilon: PositiveFloat = option(1e-8, "added to the root of the corrected v")

    def build(self, members: Mapping[str, Member]) -> Optimizer:
        """Return the optimizer of one group."""
        return AdamWOptimizer(members, self.beta1, self.beta2, self.epsilon)


class AdamOptimizer(Optimizer):
    """Adam with the slots `m` and `v`."""

    slots: ClassVar[tuple[str, ...]] = ("m", "v")

    def __init__(self, members: Mapping[str, Member], beta1: float, beta2: float, epsilon: float) -> None:
        super().__init__(members)
        self._betas, self._epsilon = (beta1, beta2), epsilon

    def coefficients(self, rate: Tensor, apply: Tensor) -> tuple[Tensor, ...]:
        """Return corrected learning rate, plain learning rate, both betas, epsilon."""
        updates = tf.cast(self.state.updates + 1, tf.float32)
        first, second = (_correction(beta, updates) for beta in self._betas)
        rate = tf.where(apply, rate, 0.0)
        beta1, beta2 = (tf.where(apply, beta, 1.0) for beta in self._betas)
        return rate * tf.sqrt(second) / first, rate, beta1, beta2, self._epsilon_of(second)

    def _epsilon_of(self, correction: Tensor) -> Tensor:
        return tf.constant(self._epsilon)

    def change(
        self, member: Member, variable: Any, gradient: Tensor, slots: Sequence[Any], apply: Tensor, *scalars: Tensor
    ) -> None:
        """Update one variable on one device."""
        corrected, rate, beta1, beta2, epsilon = scalars
        first, second = slots
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=first.handle,
            v=second.handle,
            beta1_power=0.0,  # the learning rate is corrected already, exactly also in the first steps
            beta2_power=0.0,
            lr=corrected * member.scale,
            beta1=beta1,
            beta2=beta2,
            epsilon=epsilon,
            grad=tf.where(apply, self._decayed(member, variable, gradient, rate), KEEPS_SLOTS),
        )

    def _decayed(self, member: Member, variable: Any, gradient: Tensor, rate: Tensor) -> Tensor:
        return gradient + member.weight_decay * variable if member.weight_decay else gradient


class AdamWOptimizer(AdamOptimizer):
    """AdamW with the slots `m` and `v`."""

    def _epsilon_of(self, correction: Tensor) -> Tensor:
        return self._epsilon * tf.sqrt(correction)  # the kernel takes the root of v itself, without correction

    def _decayed(self, member: Member, variable: Any, gradient: Tensor, rate: Tensor) -> Tensor:
        if member.weight_decay:
            variable.assign(variable * (1.0 - rate * (member.scale * member.weight_decay)))
        return gradient


def _correction(beta: float, updates: Tensor) -> Tensor:
    """Return 1 - beta^updates for the float32 nearest to beta."""
    nearest = float(np.float32(beta))
    return -tf.math.expm1(updates * math.log(nearest)) if nearest else tf.ones([])
