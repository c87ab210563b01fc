"""Every signal against values that are computed by hand."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.config.registry import SIGNALS
from rankcli.config.validate import component_from
from rankcli.data.scales import standard
from rankcli.data.store import store_of
from rankcli.errors import ConfigError
from rankcli.searchers.base import SearcherContext
from rankcli.searchers.bm25 import BM25
from rankcli.signals.base import Candidates
from tests.searchers.test_dense import Given

DOCS = {"a": "fox jumps", "b": "the lazy dog sleeps in foxes", "c": "dog dog", "d": "cat"}
VECTORS = {"a": [1.0, 0.0], "b": [0.6, 0.8], "c": [0.0, 1.0], "d": [-1.0, 0.0]}


@pytest.fixture
def ctx(tmp_path: Path) -> SearcherContext:
    given = Given({docid: np.array(each, np.float32) for docid, each in VECTORS.items()}, 4)
    return SearcherContext(store_of(DOCS, "docs", tmp_path), lambda name: given)


def asked(query: str, *docids: str, first: Any = None, reranked: Any = None) -> Candidates:
    scores = np.arange(len(docids), 0, -1, dtype=np.float64) if first is None else np.array(first)
    return Candidates(query, docids, scores, None if reranked is None else np.array(reranked))


def values(ctx: SearcherContext, section: Any, *block: Candidates) -> list[list[float]]:
    return [each.tolist() for each in component_from(SIGNALS, section).build(ctx)(block)]


def test_scores_are_taken_as_they_are(ctx: SearcherContext) -> None:
    block = asked("fox", "b", "a", first=[3, 1], reranked=[-1, 2])
    assert values(ctx, "first_stage", block) == [[3, 1]] and values(ctx, "reranker", block) == [[-1, 2]]
    assert values(ctx, "reranker", asked("fox")) == [[]]


def test_a_searcher_scores_any_document_as_its_run_does(ctx: SearcherContext) -> None:
    options: dict[str, Any] = {"k1": 1.2, "b": 0.5}
    run = BM25(**options).build(ctx).search({"q": "fox dog"})["q"]
    (found,) = values(ctx, {"name": "search", "run": {"name": "bm25", **options}}, asked("fox dog", "d", "b", "a"))
    assert found == [0.0, run["b"], run["a"]]
    fed = {"feedback": "rm3", "fb_docs": 1, "fb_terms": 3}
    run = BM25(feedback="rm3", fb_docs=1, fb_terms=3).build(ctx).search({"q": "fox"})["q"]
    (found,) = values(ctx, {"name": "search", "run": {"name": "bm25", **fed}}, asked("fox", *run))
    assert found == list(run.values())
    (found,) = values(ctx, {"name": "search", "run": {"name": "dense", "pretrained": "m"}}, asked("1 2", "c", "b"))
    assert found == pytest.approx([2.0, 2.2])


def test_beginnings_are_a_collection_of_their_own(ctx: SearcherContext) -> None:
    (found,) = values(ctx, {"name": "beginning", "words": 1, "k1": 1, "b": 0}, asked("dog lazy", *"abcd"))
    idf = log(1 + (4 - 1 + 0.5) / (1 + 0.5))  # each in one beginning: "lazy" in b, "dog" in c
    assert found == pytest.approx([0, idf / 2, idf / 2, 0])


def test_lengths_count_words(ctx: SearcherContext) -> None:
    assert values(ctx, "length", asked("x", "b", "d")) == [[pytest.approx(log(5)), pytest.approx(log(2))]]


def test_overlap_is_the_share_of_the_query_by_idf(ctx: SearcherContext) -> None:
    fox, cat = log(1 + 2.5 / 2.5), log(1 + 3.5 / 1.5)
    (found,) = values(ctx, "overlap", asked("fox fox cat zebra", "a", "d", "c"))
    assert found == pytest.approx([fox / (fox + cat), cat / (fox + cat), 0])
    assert values(ctx, "overlap", asked("zebra", "a")) == [[0.0]]


def test_cosine_is_the_product_of_vectors_for_each_query(ctx: SearcherContext) -> None:
    section = {"name": "cosine", "pretrained": "m"}
    found = values(ctx, section, asked("1 0", "d", "b"), asked("0 2", "b"), asked("1 1"))
    assert found == [pytest.approx([-1.0, 0.6]), pytest.approx([1.6]), []]


def test_rocchio_moves_the_query_towards_the_first_documents(ctx: SearcherContext) -> None:
    section = {"name": "rocchio", "pretrained": "m", "docs": 1, "beta": 0.5}
    # first stage 1, 0, 1, 0 and products 1, .6, 0, -1: document a is the first of the sum
    (found,) = values(ctx, section, asked("1 0", *"abcd", first=[1, 0, 1, 0]))
    assert found == pytest.approx([1.0, 0.6, 0.0, -1.0])
    # first stage alone decides where it is far more for c: (1, 0) / 2 + (0, 1) / 2, of length 1
    (found,) = values(ctx, section, asked("0.1 0", *"abcd", first=[0, 0, 9, 0]))
    moved = np.array([0.05, 0.5]) / np.hypot(0.05, 0.5)
    assert found == pytest.approx([float(np.array(VECTORS[each]) @ moved) for each in "abcd"])
    assert values(ctx, section, asked("1 0")) == [[]]


def test_rocchio_takes_first_documents_by_another_searcher(ctx: SearcherContext) -> None:
    other = {"name": "dense", "pretrained": "m"}
    section = {"name": "rocchio", "pretrained": "m", "docs": 1, "beta": 0.5, "run": other}
    (found,) = values(ctx, section, asked("0.1 0", *"abcd", first=[0, 0, 9, 0]))
    assert found == pytest.approx([1.0, 0.6, 0.0, -1.0]), "moved towards a; the first stage alone would have c"


def test_standard_scores_by_hand() -> None:
    assert standard(np.array([1.0, 2.0, 3.0])).tolist() == pytest.approx([-(1.5**0.5), 0, 1.5**0.5])
    assert standard(np.array([0.1, 0.1, 0.1])).tolist() == [0, 0, 0], "whose mean is not exactly 0.1"
    assert standard(np.zeros(0)).tolist() == []


def test_weights_to_start_from() -> None:
    usual = {"first_stage": 1, "reranker": 1, "length": 0, "search": 0}
    assert {name: component_from(SIGNALS, name).start for name in usual} == usual
    assert component_from(SIGNALS, {"name": "search", "prior": 1}).start == 1


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("cosin", "did you mean 'cosine'"),
        ({"name": "search", "run": {"name": "fuse", "runs": ["bm25", "bm25"]}}, "use `bm25` or `dense`"),
        ({"name": "rocchio", "pretrained": "m", "beta": 2}, "beta"),
        ({"name": "rocchio", "pretrained": "m", "run": "first.run"}, "use `bm25` or `dense`"),
    ],
)
def test_options_that_do_not_fit_are_refused(section: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        component_from(SIGNALS, section)
