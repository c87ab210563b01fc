"""Histograms and gates: golden values, the formula in NumPy, bins, and the parameters of the paper."""

from __future__ import annotations

import numpy as np
import numpy_words
import pytest
import tiny_models as tiny
import words

GIVEN, EXPECTED = (words.GOLDEN["drmm"][part] for part in ("inputs", "expected"))
NET = {
    "hidden.weight": np.array(GIVEN["W1"]).T,
    "hidden.bias": GIVEN["b1"],
    "output.weight": np.array(GIVEN["W2"]).T,
    "output.bias": GIVEN["b2"],
}


@pytest.mark.parametrize("kind", ["LCH", "NH", "CH"])
@pytest.mark.parametrize("gate", ["IDF", "TV"])
def test_scores_are_the_formula_term_by_term(kind, gate):
    model = tiny.built("DRMM", histType=kind, gateType=gate)
    idf = model.extractor.tables["idf"] if gate == "IDF" else None
    words.check(model, lambda *given: numpy_words.drmm(*given, kind, idf))


@pytest.mark.parametrize(("gate", "weight"), [("IDF", [GIVEN["w_idf"]]), ("TV", GIVEN["w_tv"])])
def test_golden_values_of_both_gates(gate, weight):
    score, _ = words.golden("DRMM", "drmm", {**NET, "gate": weight}, nbins=4, gateType=gate)
    assert score == pytest.approx(EXPECTED[f"score_{gate.lower()}"], abs=1e-5)


@pytest.mark.parametrize("kind", ["CH", "NH", "LCH"])
def test_golden_histograms(kind):
    _, model = words.golden("DRMM", "drmm", NET, nbins=4, histType=kind)
    group = tiny.example(model.extractor, words.QUERY, (words.DOC,))
    pairs = model.reranker.words(tiny.batch(model.extractor, [group]))
    histograms = model.reranker.histograms(pairs).numpy()[0, :3]
    np.testing.assert_allclose(histograms, EXPECTED[kind], atol=1e-6)


@pytest.mark.parametrize(("gate", "count"), [("IDF", 162), ("TV", 161 + 300)])
def test_the_parameters_are_those_of_the_paper_and_vectors_are_frozen(gate, count):
    counts = words.parameters(tiny.built("DRMM", dim=300, nbins=29, gateType=gate))
    assert sum(counts.values()) == count


def test_two_unknown_words_do_not_match_and_one_matches_itself():
    model = tiny.built("DRMM")
    group = tiny.example(model.extractor, "xylophone", ("zeppelin", "yak", "xylophone"))
    (scores,) = model.reranker(tiny.batch(model.extractor, [group])).scores.numpy()
    assert scores[0] == scores[1] != pytest.approx(scores[2], abs=1e-4)
