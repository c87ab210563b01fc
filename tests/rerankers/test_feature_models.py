"""Every reranker on features: compiled at static shapes, and trained until it orders 20 queries without a mistake."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models as tiny

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS
from rankcli.encoders.dropout import Dropout
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.features import Features
from rankcli.rerankers.base import RerankerContext
from rankcli.shapes import Batch

every = pytest.mark.parametrize("name", sorted({*tiny.NAMES} - {*tiny.ON_TEXTS}))


@every
def test_compiled_by_xla_at_static_shapes_scores_are_the_same(name):
    model = tiny.built(name)
    laid_out = tiny.batch(model.extractor, tiny.examples(model.extractor), size=3, docs=4, static=True)
    for dropout in (None, Dropout.of(1, 2)):
        compiled = tf.function(lambda batch, d=dropout: model.reranker(batch, d).scores, jit_compile=True)
        expected = model.reranker(laid_out, dropout).scores
        np.testing.assert_allclose(compiled(laid_out), expected, rtol=1e-5, atol=1e-5)


@every
def test_20_queries_are_learnt_by_heart(name):
    draw = np.random.default_rng(4)
    features, labels = (
        draw.normal(size=(20, 5, 8)).astype(np.float32),
        draw.permuted(np.tile(range(5), (20, 1)), axis=1),
    )
    extractor = Features().build(ExtractorContext(features=lambda: iter(features)))
    sizes = {} if name == "gam" else {"dropout": 0.0}
    small = {"hidden": 32, "layers": 1, "inner": 32} if name == "listattention" else {"layers": (32, 16)}
    model = RERANKERS.get(name)(**sizes, **small).build(RerankerContext(extractor))
    batch = Batch(labels, tf.ones([20, 5], tf.bool), {}, {"features": tf.constant(features)})
    better = tf.constant(labels[:, :, None] > labels[:, None, :], tf.float32)
    optimizer = tf.keras.optimizers.Adam(0.01, jit_compile=False)

    @tf.function(jit_compile=True)
    def step():
        with tf.GradientTape() as tape:
            scores = model(batch).scores
            loss = tf.reduce_sum(better * tf.nn.softplus(scores[:, None, :] - scores[:, :, None]))
        return tape.gradient(loss, variables)

    variables = list(model.variables.values())
    for _ in range(600):
        optimizer.apply_gradients(zip(step(), variables, strict=True))
    scores = model(batch).scores.numpy()
    right = (scores[:, :, None] > scores[:, None, :])[better.numpy() > 0]
    assert len(right) == 200 and right.all()
