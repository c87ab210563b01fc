"""All rerankers on words: that they can learn."""

from __future__ import annotations

import random

import numpy as np
import pytest
import tiny_models as tiny

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.embedtext import EmbedText
from rankcli.rerankers.base import RerankerContext

NAMES = [name for name in tiny.NAMES if RERANKERS.get(name).default_extractor == "embedtext"]


def queries():
    """20 queries of two words; of four documents, the first has both, the second one, the others none of them."""
    draw, known = random.Random(3), [f"w{n}" for n in range(40)]
    for _ in range(20):
        pair, others = draw.sample(known, 2), draw.sample(known, 30)
        fill = [word for word in others if word not in pair]
        docs = [[*pair, *fill[:4]], [pair[0], *fill[4:9]], fill[9:15], fill[15:21]]
        yield " ".join(pair), tuple(" ".join(draw.sample(doc, len(doc))) for doc in docs)


@pytest.mark.parametrize("name", NAMES)
def test_twenty_queries_are_learnt_by_heart(name):
    groups = list(queries())
    texts = [doc for _, docs in groups for doc in docs]
    extractor = EmbedText(maxqlen=4, maxdoclen=8).build(ExtractorContext(texts=lambda: texts))
    options = RERANKERS.get(name)(**RERANKERS.get(name).tiny)
    reranker = options.build(RerankerContext(extractor=extractor, seed=2))
    batch = tiny.batch(extractor, [tiny.example(extractor, query, docs) for query, docs in groups], static=True)
    variables = [variable for variable in reranker.variables.values() if variable.trainable]
    optimizer = tf.keras.optimizers.Adam(0.03)
    optimizer.build(variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            scores = reranker(batch).scores
            margins = scores[:, :1] - scores[:, 1:]
            loss = tf.reduce_mean(tf.nn.relu(1 - margins))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return margins

    margins = next(filter(np.all, (step().numpy() > 0 for _ in range(150))), None)
    assert margins is not None, "not every pair is in order after 150 steps"
