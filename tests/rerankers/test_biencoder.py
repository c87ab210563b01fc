"""Bi-encoders: vectors and their similarity in NumPy, and the files of sentence-transformers."""

from __future__ import annotations

import json

import numpy as np
import numpy_models
import pytest
import tiny_models as tiny

from rankcli.config.registry import RERANKERS
from rankcli.errors import ConfigError
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.foreign import options_for


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize(
    ("similarity", "scale", "factor"), [("cosine", None, 20), ("dot", None, 1), ("cosine", 3.5, 3.5)]
)
def test_scores_are_similarities_of_pooled_states(pooling, similarity, scale, factor):
    model = tiny.built("biencoder", encoder=tiny.DEEPER, pooling=pooling, similarity=similarity, scale=scale)
    groups = tiny.examples(model.extractor)
    scores = model.reranker(tiny.batch(model.extractor, groups)).scores.numpy()

    def vector(sequence):
        states = numpy_models.bert_states(model.reranker.tensors(), sequence.ids, sequence.segments, 2)
        pooled = states.mean(0) if pooling == "mean" else states[0]
        return pooled / np.linalg.norm(pooled) if similarity == "cosine" else pooled

    for b, group in enumerate(groups):
        made = model.extractor.extract(group)
        expected = [factor * vector(made["query"][0]) @ vector(doc) for doc in made["doc"]]
        np.testing.assert_allclose(scores[b, : len(expected)], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("similarity", "modules"), [("cosine", 3), ("dot", 2)])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_written_modules_are_read_back_as_the_same_options(similarity, modules, pooling, tmp_path):
    model = tiny.built("biencoder", similarity=similarity, pooling=pooling)
    model.reranker.save_config(tmp_path)
    assert len(json.loads((tmp_path / "modules.json").read_text())) == modules
    reranker, extractor = options_for(tmp_path)
    assert (reranker.similarity, reranker.pooling) == (similarity, pooling)
    assert (extractor.maxqlen, extractor.maxdoclen) == (24, 24)


@pytest.mark.parametrize("known", [("query", "doc"), ("doc",)])
def test_outputs_from_base_vectors_are_those_of_the_whole_model(known):
    model = tiny.built("biencoder", encoder=tiny.DEEPER)
    laid_out = tiny.batch(model.extractor, tiny.examples(model.extractor))
    whole = model.reranker(laid_out)
    bases = model.reranker.bases
    made = {field: bases[field].encode(laid_out.fields[field].layout, None) for field in known}
    fields = {field: each._replace(layout=None) if field in known else each for field, each in laid_out.fields.items()}
    for outputs in (model.reranker.from_bases(laid_out._replace(fields=fields), made), whole):
        np.testing.assert_array_equal(outputs.scores, whole.scores)
        np.testing.assert_array_equal(
            outputs.vectors["doc"], model.reranker.towers["doc"](laid_out.fields["doc"].layout)
        )
    assert model.reranker.towers["query"] == model.reranker.towers["doc"]  # a graph for both
    assert not bases["doc"].frozen


def test_words_whose_ids_depend_on_the_query_are_refused():
    _, extractor = tiny.extractor_of("TFKNRM")
    with pytest.raises(ConfigError, match="extractor: an encoder cannot read words whose ids depend on the query"):
        RERANKERS.get("biencoder")().build(RerankerContext(extractor=extractor))
