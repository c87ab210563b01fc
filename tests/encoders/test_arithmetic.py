"""Functions with gradients written out, against those that TensorFlow derives."""

from __future__ import annotations

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.encoders import _arithmetic

RANDOM = np.random.default_rng(4)
X, UPPER = (RANDOM.normal(0, 2, (50, 8)).astype(np.float32) for _ in range(2))
GAMMA, BETA = (RANDOM.normal(1, 0.5, 8).astype(np.float32) for _ in range(2))


def derived(function, *inputs):
    """The value at some inputs, and the gradients there of its product with `UPPER`."""
    inputs = [tf.constant(value) for value in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(*inputs)
    return [value, *tape.gradient(value, inputs, output_gradients=tf.cast(UPPER, value.dtype))]


def plain_norm(x, gamma, beta):
    mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    return (x - mean) / tf.sqrt(variance + 1e-5) * gamma + beta


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_gelu_and_its_gradient(dtype, tolerance):
    expected = derived(lambda x: tf.nn.gelu(x, approximate=False), X)
    found = derived(_arithmetic.gelu, tf.cast(X, dtype))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(tf.cast(one, tf.float32), other, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.1)])
def test_norm_and_its_gradients(dtype, tolerance):
    expected = derived(plain_norm, X, GAMMA, BETA)
    found = derived(lambda *inputs: _arithmetic.norm(*inputs, 1e-5), tf.cast(X, dtype), GAMMA, BETA)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(tf.cast(one, tf.float32), other, atol=tolerance, rtol=tolerance)
