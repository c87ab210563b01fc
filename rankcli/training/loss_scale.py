"""The factor on the loss that keeps small gradients within the range of float16 (Micikevicius et al., 2018)."""

from __future__ import annotations

from typing import Any

from rankcli.backend import tf

FIRST = 2.0**15
PATIENCE = 2000  # good steps before the scale is doubled


class LossScale:
    """One scale for all groups: halved, down to 1, when a gradient is not finite, doubled after 2000 finite steps.

    It is a power of two, so that scaling itself rounds nothing. `state`, for checkpoints, has the scale and the number
    of good steps since its last change.
    """

    def __init__(self) -> None:
        self.state = tf.Module()
        self.state.scale = tf.Variable(FIRST, trainable=False, name="scale")
        self.state.good = tf.Variable(0, dtype=tf.int64, trainable=False, name="good")

    def next(self, finite: Any) -> tuple[Any, Any]:
        """Return scale and good steps after a step; `finite` tells if its gradients were finite."""
        scale, good = tf.convert_to_tensor(self.state.scale), self.state.good + 1
        patient = good >= PATIENCE
        raised, lowered = tf.where(patient, 2.0 * scale, scale), tf.maximum(scale / 2.0, 1.0)
        return tf.where(finite, raised, lowered), tf.where(finite & ~patient, good, tf.zeros_like(good))

    def update(self, strategy: Any, scale: Any, good: Any) -> None:
        """Set the values that `next` returned, on every device. Call it in cross-replica context."""
        for variable, value in ((self.state.scale, scale), (self.state.good, good)):
            strategy.extended.update(variable, _assign, args=(value,), group=False)


def _assign(variable: Any, value: Any) -> None:
    variable.assign(value)
