"""All rerankers on words: that they can learn, and that a new process computes the same bits."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
import words

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.embedtext import EmbedText
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.saved import save_reranker, sections_of

NAMES = [name for name in tiny.NAMES if RERANKERS.get(name).default_extractor == "embedtext"]
ROOT = Path(__file__).parents[2]
SCORES = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import tiny_models, words
from rankcli.rerankers.saved import load_reranker
for directory in sys.argv[2:]:
    reranker, extractor, _ = load_reranker(Path(directory))
    print(reranker(tiny_models.batch(extractor, words.groups(extractor))).scores.numpy().tobytes().hex())
"""


def test_a_new_process_computes_the_same_bits(tmp_path):
    expected = []
    for name in NAMES:
        model = tiny.built(name)
        save_reranker(model.reranker, model.extractor, sections_of(*model.options), tmp_path / name)
        scores = model.reranker(tiny.batch(model.extractor, words.groups(model.extractor))).scores
        expected.append(scores.numpy().tobytes().hex())
    command = [sys.executable, "-c", SCORES, str(Path(__file__).parent), *(str(tmp_path / name) for name in NAMES)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.stdout.split() == expected


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
