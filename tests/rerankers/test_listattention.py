"""Attention among the documents of a list: the formula in NumPy, padding, order, and the list as a whole."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models as tiny

from rankcli.encoders.dropout import Dropout
from rankcli.rerankers.listattention import ListAttention


def normed(x, weights, name):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def expected(x, weights, layers, heads):
    def dense(name, x):
        return x @ weights[f"{name}.weight"].T.astype(np.float64) + weights[f"{name}.bias"]

    h = dense("input", x)
    for n in range(layers):
        queries, keys, values = np.split(dense(f"layer_{n}.attention.qkv", h), 3, -1)
        parts = []
        for q, k, v in zip(*(np.split(part, heads, -1) for part in (queries, keys, values)), strict=True):
            logits = q @ k.T / np.sqrt(q.shape[-1])
            shares = np.exp(logits - logits.max(-1, keepdims=True))
            parts.append(shares / shares.sum(-1, keepdims=True) @ v)
        attended = dense(f"layer_{n}.attention.output", np.concatenate(parts, -1))
        h = normed(h + attended, weights, f"layer_{n}.attention.layer_norm")
        inner = np.maximum(dense(f"layer_{n}.intermediate", h), 0)
        h = normed(h + dense(f"layer_{n}.output", inner), weights, f"layer_{n}.layer_norm")
    return dense("output", h)[:, 0]


@pytest.mark.parametrize(("layers", "heads"), [(0, 1), (1, 1), (2, 2)])
def test_scores_are_the_formula_of_each_list_alone(layers, heads):
    model = tiny.built("listattention", layers=layers, heads=heads)
    groups = tiny.examples(model.extractor)
    found = model.reranker(tiny.batch(model.extractor, groups, size=3, docs=5, static=True)).scores.numpy()
    for group, scores in zip(groups, found, strict=False):
        x = model.extractor.extract(group)["features"].astype(np.float64)
        wanted = expected(x, model.reranker.tensors(), layers, heads)
        np.testing.assert_allclose(scores[: len(x)], wanted, rtol=1e-5, atol=1e-5)


def test_the_list_counts_and_its_order_does_not():
    model = tiny.built("listattention")
    texts = tiny.TEXTS[:4]

    def scores(*docs):
        group = tiny.example(model.extractor, tiny.QUERIES[0], tuple(texts[d] for d in docs))
        return model.reranker(tiny.batch(model.extractor, [group])).scores.numpy()[0]

    whole = scores(0, 1, 2, 3)
    np.testing.assert_allclose(scores(3, 1, 0, 2), whole[[3, 1, 0, 2]], rtol=1e-5, atol=1e-5)
    assert np.abs(scores(0, 1) - whole[:2]).max() > 1e-3


def test_dropout_is_a_function_of_its_key():
    model = tiny.built("listattention", dropout=0.5)
    laid_out = tiny.batch(model.extractor, tiny.examples(model.extractor))
    one, again, other = (model.reranker(laid_out, Dropout.of(1, step)).scores.numpy() for step in (3, 3, 4))
    assert np.array_equal(one, again) and not np.allclose(one, other)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match=r"hidden \(6\) must be a multiple of heads \(4\)"):
        ListAttention(hidden=6)
