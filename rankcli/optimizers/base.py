"""The contract of optimizers: the slots of a group's variables, and one update of all of them.

An update is always computed. Where `apply` is False, its coefficients leave every bit unchanged. A branch is no
alternative: replicas cannot synchronise inside it, and accelerators compile both sides.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeAlias

import numpy as np

from rankcli.backend import tf

Tensor: TypeAlias = Any
TINY = float(np.finfo(np.float32).tiny)  # TensorFlow's kernels treat smaller values as 0


@dataclass(frozen=True)
class Member:
    """A variable of a group, with its own factor on the group's learning rate and its own weight decay."""

    variable: Any
    scale: float = 1.0
    weight_decay: float = 0.0


class Optimizer(ABC):
    """The variables of one group by path. `state`, for checkpoints, has their slots and the number of updates."""

    slots: ClassVar[tuple[str, ...]] = ()

    def __init__(self, members: Mapping[str, Member]) -> None:
        """Create the slots, all zeros. Call it inside the strategy's scope."""
        self.members = dict(members)
        self.state = tf.Module()
        self.state.updates = tf.Variable(0, dtype=tf.int64, trainable=False, name="updates")
        self.state.slots = {
            slot: {path: _zeros(f"{slot}/{path}", member.variable) for path, member in self.members.items()}
            for slot in self.slots
        }
        for member in self.members.values():
            _without_tiny_values(member.variable)

    @abstractmethod
    def coefficients(self, rate: Tensor, apply: Tensor) -> tuple[Tensor, ...]:
        """Return the float32 scalars that `change` needs for this update, computed from the learning rate."""

    @abstractmethod
    def change(
        self, member: Member, variable: Any, gradient: Tensor, slots: Sequence[Any], apply: Tensor, *scalars: Tensor
    ) -> None:
        """Update `variable` and `slots` of `member` on one device."""

    def update(self, strategy: Any, gradients: Sequence[Tensor], scalars: Sequence[Tensor], apply: Tensor) -> None:
        """Update every variable of the group, and its slots, on every device. Call it in cross-replica context."""
        for (path, member), gradient in zip(self.members.items(), gradients, strict=True):
            slots = [self.state.slots[slot][path] for slot in self.slots]
            change, args = partial(self.change, member), (gradient, slots, apply, *scalars)
            strategy.extended.update(member.variable, change, args=args, group=False)
        strategy.extended.update(self.state.updates, _count, args=(apply,), group=False)


def _zeros(name: str, variable: Any) -> Any:
    with tf.distribute.get_strategy().extended.colocate_vars_with(variable):
        return tf.Variable(tf.zeros(variable.shape), trainable=False, name=name)


def _without_tiny_values(variable: Any) -> None:
    """Replace values that kernels treat as 0, and negative zeros, by 0, as adding 0 would.

    So an update that adds 0 changes no bit.
    """
    value = variable.numpy()
    tiny = np.abs(value) < TINY
    if np.any(value.view(np.uint32)[tiny]):
        variable.assign(np.where(tiny, np.float32(0), value))


def _count(updates: Any, apply: Tensor) -> None:
    updates.assign_add(tf.cast(apply, tf.int64))
