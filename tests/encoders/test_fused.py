"""Forms of operations for a TPU: the same values, gradients and draws as elsewhere."""

from __future__ import annotations

from types import SimpleNamespace

import golden_families as golden
import numpy as np
import pytest

from rankcli.backend import as_on_tpu, on_cpu, on_tpu, tf
from rankcli.encoders.build import Pretrained
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.fused import attended
from rankcli.encoders.layouts import BLOCKED
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.crossencoder import CrossEncoder
from rankcli.shapes import SequenceSpec, StreamSpec
from rankcli.training.gradients import dense

N, H, Q, K, WIDTH = 2, 3, 5, 8, 4


def inputs(bias_shape, dtype="float32"):
    noise = np.random.default_rng(3)
    shapes = ((N, H, Q, WIDTH), (N, H, K, WIDTH), (N, H, K, WIDTH))
    found = [tf.cast(noise.standard_normal(shape) * 2, dtype) for shape in shapes]
    bias = np.where(noise.random(bias_shape) < 0.3, BLOCKED, noise.standard_normal(bias_shape))
    return [*found, tf.constant(bias, tf.float32)]


def plain(query, keys, values, bias, drop):
    logits = tf.cast(tf.matmul(query, keys, transpose_b=True), tf.float32) + bias
    return tf.matmul(drop(tf.cast(tf.nn.softmax(logits), query.dtype)), values)


def with_gradients(function, given, drop):
    with tf.GradientTape() as tape:
        tape.watch(given)
        found = function(*given, drop)
        loss = tf.reduce_sum(tf.cast(found, tf.float32) * tf.cast(tf.range(found.shape[-1]), tf.float32))
    return [found, *tape.gradient(loss, given)]


@pytest.mark.parametrize("rate", [0.0, 0.25])
@pytest.mark.parametrize("bias_shape", [(N, 1, 1, K), (1, H, Q, K), (N, H, Q, K), (N, 1, Q, K)])
def test_attention_and_its_gradients_are_those_of_the_formula(bias_shape, rate):
    given, key = inputs(bias_shape), Dropout.of(1, 2)

    def drop(x):
        return key.apply(x, rate)

    for found, wanted in zip(with_gradients(attended, given, drop), with_gradients(plain, given, drop), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_query_that_sees_nothing_has_the_mean_of_all_values():
    query, keys, values, _ = inputs((N, 1, 1, K))
    found, *gradients = with_gradients(attended, [query, keys, values, tf.fill([N, 1, 1, K], BLOCKED)], lambda x: x)
    np.testing.assert_allclose(found, np.broadcast_to(np.mean(values, axis=2, keepdims=True), found.shape), atol=1e-6)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_bfloat16_is_near_float32():
    exact = with_gradients(attended, inputs((N, 1, Q, K)), lambda x: x)
    for found, wanted in zip(
        with_gradients(attended, inputs((N, 1, Q, K), "bfloat16"), lambda x: x), exact, strict=True
    ):
        np.testing.assert_allclose(np.float32(found), wanted, atol=0.03 * np.abs(wanted).max())


@pytest.mark.parametrize("rate", [0.1, 0.01, 0.5])
@pytest.mark.parametrize("shape", [(3, 5, 8), (2, 3, 5, 12), (4, 6, 7)])
def test_the_same_values_are_dropped(shape, rate):
    x, key = tf.constant(np.random.default_rng(1).standard_normal(shape), tf.float32), Dropout.of(7, 3)
    elsewhere = key.apply(x, rate)
    with as_on_tpu():
        np.testing.assert_array_equal(key.apply(x, rate), elsewhere)
    assert 0 < np.count_nonzero(elsewhere) < x.shape.num_elements() or rate == 0.01


@pytest.mark.parametrize("name", ["mpnet", "deberta-v2-xlarge", "modernbert-mean", "electra"])
def test_a_model_has_the_same_loss_and_gradients(tmp_path, name):
    """Biases with gradients, windows, rotated positions: each family of positions has its own."""
    spec = SequenceSpec("doc", "doc", max(golden.GOLDEN["lengths"]))
    extractor = SimpleNamespace(streams={"doc": StreamSpec("doc", 60)}, fields={"pair": spec})
    given, layout = Pretrained(golden.written(name, tmp_path)), golden.laid_out(golden.sequences(name), "packed")
    model = CrossEncoder(pretrained="given").build(RerankerContext(extractor=extractor, models={"pretrained": given}))

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(model.logits(layout, Dropout.of(1, 3))))
        found = tape.gradient(loss, model.variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return loss, {path: dense(value) for path, value in found.items()}

    loss, wanted = step()
    with as_on_tpu():
        again, found = step()
    assert float(again) == pytest.approx(float(loss), rel=1e-5)
    for path, values in wanted.items():
        np.testing.assert_allclose(found[path], values, atol=2e-5 * np.abs(values).max() + 1e-6, err_msg=path)


def test_the_forms_of_a_tpu_hold_within_the_block_only():
    assert on_cpu() and not on_tpu()
    with as_on_tpu():
        assert on_tpu() and not on_cpu()
    assert on_cpu() and not on_tpu()
