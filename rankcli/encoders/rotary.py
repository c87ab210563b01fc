"""Rotary positions (Su et al. 2021): queries and keys are turned by angles that grow with the position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from rankcli.backend import tf
from rankcli.encoders.layers import Positions

Tensor: TypeAlias = Any


@dataclass(frozen=True)
class Rotary(Positions):
    """The pair (c, c + h/2) of a head's h numbers is turned by the position times `base`^(-2c/h).

    Angles and products are float32 in any dtype of the computation: bfloat16 has no odd numbers above 256.
    """

    base: float

    def turned(self, parts: Tensor, positions: Tensor) -> Tensor:
        """Return queries, keys and values, [T, 3, H, D/H], of which queries and keys are turned."""
        half = parts.shape[-1] // 2
        speed = tf.constant(self.base ** (-np.arange(half) / half), tf.float32)
        angle = (tf.cast(positions, tf.float32)[:, None] * speed)[:, None, None]
        cos, sin = tf.cos(angle), tf.sin(angle)
        a, b = tf.split(tf.cast(parts[:, :2], tf.float32), 2, axis=-1)
        both = tf.concat([a * cos - b * sin, b * cos + a * sin], -1)
        return tf.concat([tf.cast(both, parts.dtype), parts[:, 2:]], 1)
