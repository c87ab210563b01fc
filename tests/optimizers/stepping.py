"""Optimizers without a model: updates by given gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rankcli.backend import tf
from rankcli.optimizers.base import Optimizer

Update = Callable[..., None]


def updating(optimizer: Optimizer, strategy: Any = None) -> Update:
    """`update(gradients, rate, apply)`: one update of all variables, in every replica with the same gradients."""
    strategy = strategy or tf.distribute.get_strategy()

    def on_replica(gradients: Any, rate: Any, apply: Any) -> None:
        scalars = optimizer.coefficients(rate, apply)
        tf.distribute.get_replica_context().merge_call(optimizer.update, args=(gradients, scalars, apply))

    compiled = tf.function(lambda *args: strategy.run(on_replica, args=args))

    def update(gradients: Sequence[Any], rate: float, apply: bool = True) -> None:
        compiled([tf.constant(g, tf.float32) for g in gradients], tf.constant(rate), tf.constant(apply))

    return update


def bits(optimizer: Optimizer) -> dict[str, bytes]:
    """Every variable, slot and counter, to the bit."""
    slots: Mapping[str, Mapping[str, Any]] = optimizer.state.slots
    found = {path: member.variable for path, member in optimizer.members.items()}
    found |= {f"{slot}/{path}": variable for slot, of in slots.items() for path, variable in of.items()}
    return {name: np.asarray(variable.numpy()).tobytes() for name, variable in found.items()} | {
        "updates": optimizer.state.updates.numpy().tobytes()
    }
