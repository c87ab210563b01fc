"""Kernel pooling: the formula by hand and in NumPy, its options, its constants."""

from __future__ import annotations

import math

import numpy as np
import numpy_words
import pytest
import tiny_models as tiny
import words

from rankcli.errors import ConfigError
from rankcli.extractors.apart import Apart
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.embedtext import EmbedText
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.knrm import KNRM
from rankcli.shapes import Record


@pytest.mark.parametrize("idf", [False, True])
def test_scores_are_the_formula_term_by_term(idf):
    model = tiny.built("TFKNRM", idf=idf)
    weights = model.extractor.tables["idf"] if idf else None
    words.check(model, lambda *given: numpy_words.knrm(*given, weights))


def test_golden_values_of_the_linear_score():
    given, expected = (words.GOLDEN["knrm"][part] for part in ("inputs", "expected"))
    score, _ = words.golden("TFKNRM", "knrm", {"output.weight": [given["w"]], "output.bias": [given["b"]]})
    assert math.tanh(score) == pytest.approx(expected["score_paper"], abs=1e-6)


def test_an_unknown_word_matches_itself_and_no_other_unknown_word():
    model = exact_only()
    group = tiny.example(model.extractor, "xylophone", ("zeppelin", "a xylophone", "cat", "xylophone xylophone"))
    (scores,) = model.reranker(tiny.batch(model.extractor, [group])).scores.numpy()
    missing = 0.01 * math.log(1e-10)
    np.testing.assert_allclose(scores, [missing, 0, missing, 0.01 * math.log(2)], atol=1e-6)


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
        log = max(-((cosine - mu) ** 2) / (2 * sigma**2), math.log(1e-10))
        assert score == pytest.approx(0.01 * log, abs=1e-6)


def exact_only():
    """A model whose score is phi of the last kernel."""
    model = tiny.built("TFKNRM", shaken=False)
    only = np.zeros((1, 11), np.float32)
    only[0, 10] = 1
    model.reranker.assign({**model.reranker.tensors(), "output.weight": only})
    return model


def test_exact_matches_are_counted_by_the_last_kernel():
    model = exact_only()
    group = tiny.example(model.extractor, "cat", ("cat", "cat cat cat", "mat"))
    (scores,) = model.reranker(tiny.batch(model.extractor, [group])).scores.numpy()
    np.testing.assert_allclose(scores, [0, 0.01 * math.log(3), 0.01 * math.log(1e-10)], atol=1e-5)


def test_frozen_parts_are_no_trainable_variables_but_are_saved():
    model = tiny.built("TFKNRM", finetune=False, gradkernels=False)
    trained = {path: v.shape.num_elements() for path, v in model.reranker.variables.items() if v.trainable}
    assert trained == {"output/kernel": 11, "output/bias": 1}  # the paper's 12 parameters besides the embeddings
    assert len(model.reranker.tensors()) == len(model.reranker.variables) == 5
    words.check(model, numpy_words.knrm)


def with_vectors(tmp_path, **options):
    (tmp_path / "glove.txt").write_text("cat 3 4\nmat 1 0\n")
    extractor = EmbedText(vectors=str(tmp_path / "glove.txt")).build(ExtractorContext(texts=lambda: tiny.TEXTS))
    return extractor, KNRM(**options).build(RerankerContext(extractor=extractor))


def test_embeddings_start_from_the_vectors_of_the_extractor(tmp_path):
    extractor, reranker = with_vectors(tmp_path, dim=2)
    table = reranker.tensors()["word_embeddings.weight"]
    np.testing.assert_array_equal(table, extractor.tables["vectors"])
    (cat, mat) = (extractor.vocabulary.words.index(word) + 2 for word in ("cat", "mat"))
    np.testing.assert_array_equal(table[[cat, mat]], [[3, 4], [1, 0]])
    with pytest.raises(ConfigError, match="have 2 numbers, not 128\n  -> reranker.dim=2"):
        with_vectors(tmp_path)


def test_idf_needs_an_extractor_that_computes_it():
    extractor = Apart(vocab_size=40).build(ExtractorContext(texts=lambda: tiny.TEXTS))
    with pytest.raises(ConfigError, match="computes no idf"):
        KNRM(idf=True).build(RerankerContext(extractor=extractor))
