"""Convolutions over similarities: golden values, the formula in NumPy, the options of Co-PACRR."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy_words
import pytest
import tiny_models as tiny
import words

from rankcli.encoders.dropout import Dropout
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.embedtext import EmbedText
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.pacrr import PACRR


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("cascade", [False, True])
def test_scores_are_the_formula_term_by_term(context, cascade):
    model = tiny.built("PACRR", context=context, cascade=cascade)
    idf, parts = model.extractor.tables["idf"], (0.25, 0.5, 0.75, 1.0) if cascade else (1.0,)
    words.check(model, lambda *given: numpy_words.pacrr(*given, idf, 4, parts=parts, context=context))


def golden():
    inputs = words.GOLDEN["pacrr"]["inputs"]
    tensors = {}
    for n, part in inputs["conv"].items():
        tensors |= {f"ngram_{n}.weight": np.array(part["kernel"]).T, f"ngram_{n}.bias": part["bias"]}
    for name, part in zip(("hidden_1", "hidden_2", "output"), inputs["dense"], strict=True):
        tensors |= {f"{name}.weight": np.array(part["W"]).T, f"{name}.bias": part["b"]}
    return words.golden("PACRR", "pacrr", tensors, nfilters=2, combine=4)


def test_golden_values():
    score, model = golden()
    expected = words.GOLDEN["pacrr"]["expected"]
    assert score == pytest.approx(expected["score"], abs=1e-5)
    group = tiny.example(model.extractor, words.QUERY, (words.DOC,))
    rows = model.reranker.features(model.reranker.words(tiny.batch(model.extractor, [group])))
    np.testing.assert_allclose(rows[0], expected["features"], atol=1e-5)


def test_the_parameters_are_about_those_of_the_paper():
    extractor = EmbedText(maxqlen=16).build(ExtractorContext(texts=lambda: tiny.TEXTS))
    model = PACRR(dim=300).build(RerankerContext(extractor=extractor))
    counts = words.parameters(tiny.Tiny(model, extractor, (None, None)))
    assert sum(counts.values()) == 160 + 320 + (16 * 7 * 32 + 32) + (32 * 32 + 32) + 33 == 5185


def test_training_shuffles_the_rows_of_the_query_by_the_key_of_the_step():
    model, fixed = tiny.built("PACRR"), tiny.built("PACRR", shuffle=False)
    batch = tiny.batch(model.extractor, tiny.examples(model.extractor))
    plain = model.reranker(batch).scores.numpy()
    steps = [model.reranker(batch, Dropout.of(1, step)).scores.numpy() for step in (1, 1, 2, 3)]
    np.testing.assert_array_equal(steps[0], steps[1])
    assert any(not np.allclose(step, plain) for step in steps) and not np.allclose(steps[0], steps[2])
    np.testing.assert_array_equal(fixed.reranker(batch, Dropout.of(1, 1)).scores, fixed.reranker(batch).scores)


def test_a_match_beyond_a_quarter_of_the_document_is_not_in_the_first_quarter():
    model = tiny.built("PACRR", cascade=True, idf=False)
    group = tiny.example(model.extractor, "cat", ("cat mat mat mat mat mat mat mat", "mat mat mat mat mat mat mat cat"))
    pairs = model.reranker.words(tiny.batch(model.extractor, [group]))
    first, last = model.reranker.features(pairs).numpy()[:, 0]
    assert first[[0, 2, 4, 6]].tolist() == [1, 1, 1, 1]
    assert last[6] == 1 and (last[[0, 2, 4]] < 0.999).all()


def test_options_are_those_of_capreolus_that_the_model_has():
    assert {"maxgram", "nfilters", "kmax", "idf", "combine"} < {field.name for field in dataclasses.fields(PACRR)}
