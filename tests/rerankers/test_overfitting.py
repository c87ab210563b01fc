"""Cross-encoders of papers learn twenty queries by heart."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models as tiny

from rankcli.backend import tf
from rankcli.encoders.dropout import Dropout

WORDS = "cat mat dogs run far away hills sat day".split()  # noqa: SIM905


@pytest.mark.parametrize("name", ["duobert", "rankt5", "setencoder"])
def test_twenty_queries_are_learnt_to_an_accuracy_of_one(name):
    """A word as query, a document with it and one without; Adam on all queries at once."""
    apart = name == "duobert"  # its scores in training are logits, in prediction probabilities
    draw = np.random.default_rng(3)
    size = tiny.TINY.__class__(layers=1, hidden=16, heads=2, intermediate=32, dropout=0.0, max_positions=64)
    model = tiny.built(name, encoder=size, dropout=0.0)
    groups = []
    for n in range(20):
        word, *others = [WORDS[n % len(WORDS)], *draw.permutation([w for w in WORDS if w != WORDS[n % len(WORDS)]])]
        groups.append(tiny.example(model.extractor, word, (f"{others[0]} {word}", f"{others[1]} {others[2]}")))
    batch = tiny.batch(model.extractor, groups)
    optimizer = tf.keras.optimizers.Adam(0.003)
    variables = list(model.reranker.variables.values())
    optimizer.build(variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            scores = model.reranker(batch, Dropout.of(1, 1) if apart else None).scores  # at rates of 0
            loss = tf.reduce_mean(tf.nn.softplus(scores[:, 1] - scores[:, 0]))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    for _ in range(100):
        step()
    scores = model.reranker(batch).scores.numpy()
    assert (scores[:, 0] > scores[:, 1]).mean() == 1.0
