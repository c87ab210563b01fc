"""Kernel pooling: the formula by hand and in NumPy, its options, its constants."""

from __future__ import annotations

import math

import numpy as np
import numpy_models
import pytest
import tiny_models as tiny

from rankcli.errors import ConfigError
from rankcli.extractors.apart import Apart
from rankcli.extractors.base import ExtractorContext
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.knrm import KNRM
from rankcli.shapes import Record


def scored(model, *, static=False):
    groups = tiny.examples(model.extractor)
    return groups, model.reranker(tiny.batch(model.extractor, groups, static=static)).scores.numpy()


@pytest.mark.parametrize("idf", [False, True])
def test_scores_are_the_formula_term_by_term(idf):
    model = tiny.built("TFKNRM", idf=idf)
    groups, scores = scored(model, static=True)
    weights = model.extractor.tables["idf"] if idf else None
    for b, group in enumerate(groups):
        expected = [
            numpy_models.knrm_score(model.reranker.tensors(), group.queries["query"], doc, weights)
            for doc in group.docs["doc"]
        ]
        np.testing.assert_allclose(scores[b, : len(expected)], expected, rtol=1e-4, atol=1e-4)


def test_kernels_stand_where_the_paper_puts_them():
    tensors = tiny.built("TFKNRM", shaken=False).reranker.tensors()
    np.testing.assert_allclose(tensors["kernels.mu"], [-0.9, -0.7, -0.5, -0.3, -0.1, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
    np.testing.assert_allclose(tensors["kernels.sigma"], [0.1] * 10 + [0.001])


def test_defect_19_sigma_stands_inside_the_exponential():
    """One query word, one other document word at a known cosine c: phi_k = -(c - mu_k)^2 / (2 sigma_k^2)."""
    model = tiny.built("TFKNRM", dim=2)
    tensors = model.reranker.tensors()
    cosine = 0.6
    ids = {word: model.extractor.encode("doc", [Record("", word)]).tokens[0][0] for word in ("cat", "mat")}
    tensors["word_embeddings.weight"][ids["cat"]] = [2, 0]
    tensors["word_embeddings.weight"][ids["mat"]] = [3 * cosine, 3 * math.sqrt(1 - cosine**2)]
    group = tiny.example(model.extractor, "cat", ("mat",))
    for k, (mu, sigma) in enumerate([(-0.9, 0.1), (0.5, 0.1), (0.9, 0.1)]):
        only = np.zeros((1, 11), np.float32)
        only[0, k] = 1
        tensors["kernels.mu"][k], tensors["kernels.sigma"][k] = mu, sigma
        model.reranker.assign({**tensors, "output.weight": only, "output.bias": np.zeros(1, np.float32)})
        (score,) = model.reranker(tiny.batch(model.extractor, [group])).scores.numpy()[0]
        assert score == pytest.approx(max(-((cosine - mu) ** 2) / (2 * sigma**2), math.log(1e-10)), abs=1e-4)


def test_exact_matches_are_counted_by_the_last_kernel():
    model = tiny.built("TFKNRM", shaken=False)
    only = np.zeros((1, 11), np.float32)
    only[0, 10] = 1
    model.reranker.assign({**model.reranker.tensors(), "output.weight": only})
    group = tiny.example(model.extractor, "cat", ("cat", "cat cat cat", "mat"))
    (scores,) = model.reranker(tiny.batch(model.extractor, [group])).scores.numpy()
    np.testing.assert_allclose(scores, [0, math.log(3), math.log(1e-10)], atol=1e-3)


def test_frozen_parts_are_no_trainable_variables_but_are_saved():
    model = tiny.built("TFKNRM", finetune=False, gradkernels=False)
    trainable = [path for path, variable in model.reranker.variables.items() if variable.trainable]
    assert trainable == ["output/kernel", "output/bias"]
    assert len(model.reranker.tensors()) == len(model.reranker.variables) == 5
    groups, scores = scored(model)
    expected = numpy_models.knrm_score(model.reranker.tensors(), groups[0].queries["query"], groups[0].docs["doc"][0])
    np.testing.assert_allclose(scores[0, 0], expected, rtol=1e-4)


def test_idf_needs_an_extractor_that_computes_it():
    extractor = Apart(vocab_size=40).build(ExtractorContext(texts=lambda: tiny.TEXTS))
    with pytest.raises(ConfigError, match="computes no idf"):
        KNRM(idf=True).build(RerankerContext(extractor=extractor))
