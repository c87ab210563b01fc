"""Words in contexts: golden values of kernels and positions, the whole model in NumPy, the parameters of the paper."""

from __future__ import annotations

import numpy as np
import numpy_words
import pytest
import tiny_models as tiny
import words

from rankcli.rerankers.tk import TK, sinusoids


@pytest.mark.parametrize("layers", [1, 2])
def test_scores_are_the_formula_term_by_term(layers):
    words.check(tiny.built("TK", numlayers=layers), lambda *given: numpy_words.tk(*given, 2))


def test_golden_values_of_given_contexts(monkeypatch):
    inputs, expected = (words.GOLDEN["tk"][part] for part in ("inputs", "expected"))

    def contexts(self, texts):
        rows = np.array(inputs["query_context" if texts.ids.shape[1] and is_query(self, texts) else "doc_context"])
        padded = np.zeros((1, texts.ids.shape[1], 4), np.float32)
        kept = rows[: int(texts.mask.numpy().sum())]
        padded[0, : len(kept)] = kept
        return padded

    def is_query(model, texts):
        return int(texts.mask.numpy().sum()) == 3

    monkeypatch.setattr("rankcli.rerankers.tk.TKModel.contexts", contexts)
    tensors = {"log": inputs["w_log"], "length": inputs["w_len"], "combine": inputs["w_comb"]}
    score, _ = words.golden("TK", "tk", tensors, numattheads=2, alpha=inputs["alpha"])
    assert score == pytest.approx(expected["score_paper"], abs=1e-5)


def test_golden_positions():
    given, expected = (words.GOLDEN["tk_positions"][part] for part in ("inputs", "expected"))
    np.testing.assert_allclose(sinusoids(given["length"], given["dim"]), expected["features"], atol=1e-6)


def test_the_parameters_are_those_of_the_paper():
    model = tiny.built("TK", dim=300, numattheads=10, ffdim=100, numlayers=2)
    counts = words.parameters(model)
    assert sum(count for path, count in counts.items() if path.startswith("encoder/context")) == 845_600
    assert sum(count for path, count in counts.items() if not path.startswith("encoder/")) == 26


def test_heads_must_divide_the_vectors():
    with pytest.raises(ValueError, match="dim must be a multiple of numattheads: 300 is not one of 7"):
        TK(numattheads=7)
