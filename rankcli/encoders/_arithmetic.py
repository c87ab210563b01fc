"""Functions whose gradients take fewer passes over memory written out than as TensorFlow derives them.

They compute in float32, whatever the dtype of `x`.
"""

from __future__ import annotations

import math
from typing import Any

from rankcli.backend import tf


def gelu(x: Any) -> Any:
    """x Phi(x), for training.

    In prediction `tf.nn.gelu` costs next to nothing, for TensorFlow makes it a part of the matrix product before it.
    Here the product itself is needed too, for the gradient: Phi(x) + x phi(x).
    """

    @tf.custom_gradient
    def compute(x: Any) -> Any:
        exact = tf.cast(x, tf.float32)
        below = 0.5 + 0.5 * tf.math.erf(exact * math.sqrt(0.5))

        def backward(gradient: Any) -> Any:
            slope = below + exact * tf.exp(tf.square(exact) * -0.5) * (1 / math.sqrt(2 * math.pi))
            return tf.cast(tf.cast(gradient, tf.float32) * slope, x.dtype)

        return tf.cast(exact * below, x.dtype), backward

    return compute(x)


def norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Layer normalisation of `x` [T, D], with `gamma` and `beta` [D] in float32 (Ba et al. 2016)."""

    @tf.custom_gradient
    def compute(x: Any, gamma: Any, beta: Any) -> Any:
        exact = tf.cast(x, tf.float32)
        centred = exact - tf.reduce_mean(exact, axis=-1, keepdims=True)
        scale = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True) + epsilon)
        normed = centred * scale

        def backward(gradient: Any) -> tuple[Any, Any, Any]:
            upper = tf.cast(gradient, tf.float32)
            projected = upper * normed
            weights = gamma[:, None] / gamma.shape[0]  # sums over the last axis as products, which are fast
            rest = upper * gamma - tf.matmul(upper, weights) - normed * tf.matmul(projected, weights)
            return tf.cast(rest * scale, x.dtype), tf.reduce_sum(projected, axis=0), tf.reduce_sum(upper, axis=0)

        return tf.cast(normed * gamma + beta, x.dtype), backward

    return compute(x, tf.convert_to_tensor(gamma), tf.convert_to_tensor(beta))
