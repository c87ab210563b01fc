"""Passages to documents: aggregations by hand and on the model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy_models
import pytest
import tiny_models as tiny

from rankcli.backend import tf
from rankcli.rerankers.bertmaxp import BERTMaxP
from rankcli.rerankers.ops import per_document, query_of, top_per_document

# Passages of places 0 (two), 1 (one), 3 (three) of a 2 x 2 batch; two sequences that only pad; place 2 has none.
OWNER = [0, 0, 1, 3, 3, 3, -1, -1]
VALUES = [1.0, -3.0, -5.0, 2.0, 4.0, 0.5, 100.0, -100.0]
BY_HAND = {
    "max": [[1, -5], [0, 4]],
    "first": [[1, -5], [0, 2]],
    "sum": [[-2, -5], [0, 6.5]],
    "avg": [[-1, -5], [0, 6.5 / 3]],
}


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("aggregation", sorted(BY_HAND))
def test_values_are_aggregated_over_each_documents_own_sequences(aggregation, jit):
    joined = tf.function(per_document, jit_compile=jit)(
        tf.constant(VALUES), tf.constant(OWNER), tf.ones([2, 2], tf.bool), aggregation
    )
    np.testing.assert_allclose(joined, BY_HAND[aggregation], rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_the_greatest_values_are_summed_with_weights_and_what_lacks_counts_nothing(jit):
    values = tf.constant([1.0, -3.0, -5.0, 2.0, 4.0, 4.0, 100.0, -100.0])

    def step(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            joined = top_per_document(values, tf.constant(OWNER), tf.ones([2, 2], tf.bool), (1.0, 0.5, 0.25))
        return joined, tf.convert_to_tensor(tape.gradient(joined, values))

    joined, gradient = tf.function(step, jit_compile=jit)(values)
    np.testing.assert_allclose(joined, [[1 - 1.5, -5], [0, 4 + 2 + 0.5]], rtol=1e-6)
    np.testing.assert_array_equal(gradient, [1, 0.5, 1, 0.25, 1, 0.5, 0, 0])  # of equal ones the first comes first


def test_golden_values_of_birch():
    """Three sentence scores with the first stage's score, mixed outside of the model."""
    golden = json.loads((Path(__file__).parents[1] / "golden/crossencoders.json").read_text())["birch"]
    given, a = golden["inputs"], golden["inputs"]["a"]
    sentences = tf.constant(given["sentences"], tf.float32)
    weights = (1.0, given["beta"], given["gamma"])
    score = top_per_document(sentences, tf.zeros([4], tf.int32), tf.ones([1, 1], tf.bool), weights).numpy()
    np.testing.assert_allclose(a * given["first_stage"] + (1 - a) * score, [[golden["expected"]["score"]]], rtol=1e-6)


def test_weights_belong_to_topk():
    for wrong in ({"aggregation": "topk"}, {"weights": (1.0,)}):
        with pytest.raises(ValueError, match="weights belong to `aggregation: topk`"):
            BERTMaxP(**wrong)


def test_every_document_sequence_finds_its_groups_query():
    rows = query_of(tf.constant([7, 5]), tf.constant(OWNER), tf.ones([2, 2], tf.bool))
    assert rows.numpy().tolist()[:6] == [7, 7, 7, 5, 5, 5]


@pytest.mark.parametrize("aggregation", [*sorted(BY_HAND), "topk"])
def test_scores_aggregate_the_logits_of_the_passages(aggregation):
    weights = (1.0, 0.3) if aggregation == "topk" else ()
    model = tiny.built("TFBERTMaxP", aggregation=aggregation, weights=weights)
    joins = {"max": np.max, "first": lambda logits: logits[0], "sum": np.sum, "avg": np.mean}
    joins["topk"] = lambda logits: sum(w * s for w, s in zip(weights, sorted(logits, reverse=True), strict=False))
    join = joins[aggregation]
    groups = tiny.examples(model.extractor)
    scores = model.reranker(tiny.batch(model.extractor, groups, size=3, static=True)).scores.numpy()
    counts = []
    for b, group in enumerate(groups):
        sequences = model.extractor.extract(group)["pair"]
        for k in range(len(group.docids)):
            own = [s for s in sequences if s.doc == k]
            logits = [numpy_models.bert_logit(model.reranker.tensors(), s.ids, s.segments, 2) for s in own]
            np.testing.assert_allclose(scores[b, k], join(logits), rtol=1e-5, atol=1e-5)
            counts.append(len(own))
    assert {1, 2, 3} <= set(counts)


def test_defect_11_avg_divides_by_the_documents_own_passages():
    model = tiny.built("TFBERTMaxP", aggregation="avg")
    groups = tiny.examples(model.extractor)
    together = model.reranker(tiny.batch(model.extractor, groups)).scores.numpy()
    alone = model.reranker(tiny.batch(model.extractor, groups[:1])).scores.numpy()
    np.testing.assert_allclose(together[0], alone[0], rtol=1e-5)
