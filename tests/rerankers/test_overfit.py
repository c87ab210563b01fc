"""Rerankers learn 20 queries by heart: every pair of a relevant and another document ends in the right order."""

from __future__ import annotations

import random

import numpy as np
import pytest
import tiny_models as tiny

from rankcli.backend import tf
from rankcli.records.reader import Shape, collate

WORDS = sorted({word for text in tiny.TEXTS for word in text.split()})
MODELS: dict[str, dict[str, object]] = {"colbert": {"dim": 16}, "TFCEDRKNRM": {}, "parade": {}}


def queries_of(extractor):
    """Groups whose second document is relevant, for no reason."""
    draw = random.Random(3)

    def text(length):
        return " ".join(draw.sample(WORDS, length))

    return [tiny.example(extractor, text(2), (text(6), text(6), text(6))) for _ in range(20)]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_all_pairs_of_20_queries_end_in_the_right_order(name):
    model = tiny.built(name, shaken=False, encoder=tiny.WIDER, **MODELS[name])
    groups = queries_of(model.extractor)
    laid_out = tf.nest.map_structure(tf.constant, collate([groups], model.extractor, Shape(20, 3, False))[0])
    variables = [variable for variable in model.reranker.variables.values() if variable.trainable]
    memory = [[tf.Variable(tf.zeros_like(v)) for _ in range(2)] for v in variables]

    @tf.function
    def step(number):
        with tf.GradientTape() as tape:
            scores = model.reranker(laid_out).scores
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(tf.ones([20], tf.int32), scores))
        for variable, gradient, (mean, square) in zip(variables, tape.gradient(loss, variables), memory, strict=True):
            gradient = tf.convert_to_tensor(gradient)
            mean.assign(0.9 * mean + 0.1 * gradient)
            square.assign(0.99 * square + 0.01 * gradient**2)
            rate = 0.01 * tf.sqrt(1 - 0.99**number) / (1 - 0.9**number)
            variable.assign_sub(rate * mean / (tf.sqrt(square) + 1e-8))
        return scores

    accuracies = []
    while len(accuracies) < 300 and accuracies[-1:] != [1.0]:
        scores = step(tf.constant(len(accuracies) + 1, tf.float32)).numpy()
        accuracies.append(np.mean(scores[:, [1]] > scores[:, [0, 2]]))
    assert accuracies[0] < 0.8 and accuracies[-1] == 1.0, accuracies[::20]
