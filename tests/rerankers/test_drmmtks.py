"""The greatest similarities: golden values, the formula in NumPy, short documents."""

from __future__ import annotations

import numpy as np
import numpy_words
import pytest
import tiny_models as tiny
import words

GIVEN, EXPECTED = (words.GOLDEN["drmm_tks"][part] for part in ("inputs", "expected"))
NET = {
    "hidden.weight": np.array(GIVEN["W1"]).T,
    "hidden.bias": GIVEN["b1"],
    "output.weight": np.array(GIVEN["W2"]).T,
    "output.bias": GIVEN["b2"],
    "gate": GIVEN["w_tv"],
}


@pytest.mark.parametrize("gate", ["IDF", "TV"])
def test_scores_are_the_formula_term_by_term(gate):
    model = tiny.built("DRMMTKS", gateType=gate)
    words.check(
        model, lambda *given: numpy_words.drmmtks(*given, model.extractor.tables["idf"] if gate == "IDF" else None)
    )


def test_golden_values():
    score, _ = words.golden("DRMMTKS", "drmm_tks", NET, topk=3)
    assert score == pytest.approx(EXPECTED["score"], abs=1e-5)


def test_a_document_of_two_words_has_two_similarities_and_a_zero():
    _, model = words.golden("DRMMTKS", "drmm_tks", NET, topk=3)
    group = tiny.example(model.extractor, words.QUERY, (" ".join(words.DOC.split()[:2]),))
    query, (doc,) = words.ids(model.extractor, group)
    found, _ = numpy_words.k_max(numpy_words.similarity(model.reranker.tensors(), query, doc), 3)
    np.testing.assert_allclose(found, EXPECTED["topk_of_2_word_doc"], atol=1e-6)
    (scores,) = model.reranker(tiny.batch(model.extractor, [group])).scores.numpy()
    assert scores[0] == pytest.approx(numpy_words.drmmtks(model.reranker.tensors(), query, doc), abs=1e-5)


def test_the_parameters_are_those_of_matchzoo():
    counts = words.parameters(tiny.built("DRMMTKS", dim=300, topk=10, finetune=False))
    assert sum(counts.values()) == 10 * 5 + 5 + 5 + 1 + 300
