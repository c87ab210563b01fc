"""Kernel pooling of n-grams: golden values, the formula in NumPy, and the parameters of the paper."""

from __future__ import annotations

import math

import numpy as np
import numpy_words
import pytest
import tiny_models as tiny
import words


@pytest.mark.parametrize("cross", [True, False])
def test_scores_are_the_formula_term_by_term(cross):
    model = tiny.built("ConvKNRM", crossmatch=cross, maxngram=3)
    words.check(model, lambda *given: numpy_words.conv_knrm(*given, cross))


def test_golden_values_with_the_tanh_of_the_paper():
    inputs = words.GOLDEN["conv_knrm"]["inputs"]
    tensors = {"output.weight": [inputs["w"]], "output.bias": [inputs["b"]]}
    for h, part in inputs["filters"].items():
        tensors |= {f"ngram_{h}.weight": np.array(part["kernel"]).T, f"ngram_{h}.bias": part["bias"]}
    score, _ = words.golden("ConvKNRM", "conv_knrm", tensors, filters=3)
    assert math.tanh(score) == pytest.approx(words.GOLDEN["conv_knrm"]["expected"]["score"], abs=1e-5)


def test_the_parameters_are_those_of_the_paper():
    counts = words.parameters(tiny.built("ConvKNRM", dim=300, filters=128, maxngram=3, gradkernels=False))
    assert sum(count for path, count in counts.items() if path.startswith("ngram")) == 230_784
    assert sum(count for path, count in counts.items() if path.startswith("output")) == 100


def test_two_unknown_words_do_not_match_and_one_matches_itself():
    model = tiny.built("ConvKNRM")
    group = tiny.example(model.extractor, "xylophone", ("zeppelin", "yak", "xylophone"))
    (scores,) = model.reranker(tiny.batch(model.extractor, [group])).scores.numpy()
    assert scores[0] == scores[1] != pytest.approx(scores[2], abs=1e-4)
