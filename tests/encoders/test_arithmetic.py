"""Functions with gradients written out, against those that TensorFlow derives."""

from __future__ import annotations

import os
import subprocess
import sys

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


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_gelu_and_its_gradient(dtype, tolerance, compiled, monkeypatch):
    if compiled:  # by itself it is for wide layers alone, not for the eight values here
        monkeypatch.setattr(_arithmetic, "COMPILED_FROM", 8)
    made = []
    monkeypatch.setattr(
        _arithmetic, "_compiled_gelu", lambda made_of=_arithmetic._compiled_gelu: made.append(1) or made_of()
    )
    expected = derived(lambda x: tf.nn.gelu(x, approximate=False), X)
    found = derived(_arithmetic.gelu, tf.cast(X, dtype))
    assert bool(made) == compiled
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(tf.cast(one, tf.float32), other, atol=tolerance, rtol=tolerance)


def test_xla_says_nothing_of_itself_and_what_others_say_meanwhile_is_passed_on():
    program = """
import os
from rankcli.backend import compiled_in_silence, tf
plain = tf.function
tf.constant(0)
import tensorflow
tensorflow.function = lambda *a, **k: os.write(2, b"a word of others\\n") and plain(*a, **k)
compiled_in_silence()
os.write(2, b"later\\n")
tensorflow.function(lambda x: x * 2, jit_compile=True)(tf.constant(1.0))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["loading TensorFlow", "a word of others", "later", "a word of others"]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.1)])
def test_norm_and_its_gradients(dtype, tolerance):
    expected = derived(plain_norm, X, GAMMA, BETA)
    found = derived(lambda *inputs: _arithmetic.norm(*inputs, 1e-5, training=True), tf.cast(X, dtype), GAMMA, BETA)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(tf.cast(one, tf.float32), other, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.01)])
def test_affine_maps_sum_up_the_gradient_of_their_bias_exactly(dtype, tolerance):
    """Over 5,000 tokens TensorFlow's own gradient is wrong by half its size in bfloat16."""
    x, upper = (tf.cast(RANDOM.normal(size=(5000, width)), dtype) for width in (6, 4))
    kernel, bias = tf.cast(RANDOM.normal(size=(6, 4)), dtype), tf.cast(RANDOM.normal(size=4), dtype)
    with tf.GradientTape() as tape:
        tape.watch([x, kernel, bias])
        value = _arithmetic.affine(x, kernel, bias)
    found = [value, *tape.gradient(value, [x, kernel, bias], output_gradients=upper)]
    x, kernel, bias, upper = (tf.cast(part, tf.float64).numpy() for part in (x, kernel, bias, upper))
    expected = [x @ kernel + bias, upper @ kernel.T, x.T @ upper, upper.sum(axis=0)]
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(tf.cast(one, tf.float64), other, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_norm_of_prediction(dtype, tolerance):
    norm = tf.function(lambda *inputs: _arithmetic.norm(*inputs, 1e-5, training=False))
    found = tf.cast(norm(tf.cast(X, dtype), GAMMA, BETA), tf.float32)
    np.testing.assert_allclose(found, plain_norm(X, GAMMA, BETA), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_softmax_rounds_once_whatever_the_kernel(dtype, exact, training, monkeypatch):
    """Of dtypes whose own kernel does not, none is used."""
    if not exact:
        monkeypatch.setattr(_arithmetic, "_has_exact_softmax", lambda _: False)
    bias = np.where(RANDOM.random((50, 8)) < 0.2, -1e9, 0.0).astype(np.float32)
    found = _arithmetic.softmax(tf.cast(X, dtype), tf.constant(bias), training)
    summed = tf.cast(tf.cast(X, dtype), tf.float32) + bias
    np.testing.assert_array_equal(found, tf.cast(tf.nn.softmax(summed), dtype))
    assert found.dtype == dtype and not np.any(tf.cast(found, tf.float32).numpy()[bias < 0])


def test_tensorflow_s_own_softmax_is_found_to_round_on_the_way():
    code = "from rankcli.encoders import _arithmetic as a; print(a._has_exact_softmax(a.tf.bfloat16))"
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_a_norm_in_prediction_keeps_to_its_memory():
    """A kernel that writes beyond its memory ends the process at some later time, so this is one of its own."""
    program = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from rankcli.backend import tf
from rankcli.encoders import _arithmetic
draw = np.random.default_rng(0)
gamma, beta = tf.Variable(tf.ones([32])), tf.Variable(tf.zeros([32]))
@tf.function(reduce_retracing=True)
def scores(x):
    for offset in (None, beta):
        x = _arithmetic.norm(tf.matmul(x, tf.constant(kernel)), gamma, offset, 1e-5, False)
    return tf.matmul(x, tf.constant(last))[:, 0]
def restated(x):
    for _ in range(2):
        x = x @ kernel
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return (x @ last)[:, 0]
kernel, last = draw.normal(size=(32, 32)).astype("f"), draw.normal(size=(32, 1)).astype("f")
inputs = [draw.normal(size=(n, 32)).astype("f") for n in list(range(1, 70)) * 20]
with ThreadPoolExecutor(3) as pool:
    for x, found in zip(inputs, pool.map(lambda x: scores(tf.constant(x)).numpy(), inputs)):
        np.testing.assert_allclose(found, restated(x), atol=1e-3)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
