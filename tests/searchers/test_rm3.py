"""RM3, restated with matrices of words."""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import numpy as np
import pytest

from rankcli.config.metrics import depth_of
from rankcli.config.registry import SEARCHERS
from rankcli.config.validate import component_from
from rankcli.data.store import store_of
from rankcli.data.trec import Run
from rankcli.errors import ConfigError
from rankcli.searchers.base import SearcherContext
from rankcli.searchers.bm25 import BM25

WORDS = [f"w{n}" for n in range(12)]
FED = {"feedback": "rm3", "fb_docs": 3, "fb_terms": 4, "fb_original": 0.3}


def collection() -> dict[str, str]:
    chance = random.Random(4)
    return {f"d{n:02}": " ".join(chance.choices(WORDS, range(14, 2, -1), k=chance.randint(3, 9))) for n in range(20)}


def search(folder: Path, docs: dict[str, str], queries: dict[str, str], **options: object) -> Run:
    made = BM25(stemmer="none", stopwords="none", **options)  # type: ignore[arg-type]
    return made.build(SearcherContext(store_of(docs, "made", folder))).search(queries)


def restated(docs: dict[str, str], query: str) -> dict[str, float]:
    tf = np.array([[text.split().count(word) for word in WORDS] for text in docs.values()], float)
    length, df = tf.sum(1), (tf > 0).sum(0)
    idf = np.log(1 + (len(docs) - df + 0.5) / (df + 0.5))
    bm25 = idf * tf / (tf + 0.9 * (1 - 0.4 + 0.4 * length / length.mean())[:, None])
    own = np.array([query.split().count(word) for word in WORDS], float)
    first = bm25 @ own
    top = np.argsort(-first)[:3]
    model = (first[top] / first[top].sum()) @ (tf[top] / length[top, None])
    model[np.argsort(-model, kind="stable")[4:]] = 0
    scores = bm25 @ (0.3 * own / own.sum() + 0.7 * model / model.sum())
    return {docid: score for docid, score in zip(docs, scores.tolist(), strict=True) if score > 0}


def test_scores_are_those_of_the_paper(tmp_path: Path) -> None:
    docs = collection()
    for query in ("w9 w11", "w3 w10 w3", "w11"):
        found = search(tmp_path, docs, {"q": query}, **FED)["q"]
        assert found == pytest.approx(restated(docs, query), rel=1e-5)
        assert set(found) > set(search(tmp_path, docs, {"q": query})["q"]), "documents without a word of the query"


def test_the_original_query_alone_ranks_as_without_feedback(tmp_path: Path) -> None:
    docs, queries = collection(), {"q": "w9 w11", "nothing": "zebra"}
    plain = search(tmp_path, docs, queries)
    same = search(tmp_path, docs, queries, **{**FED, "fb_original": 1.0})
    assert list(same["q"]) == list(plain["q"]) and same["nothing"] == {}
    assert same["q"] == pytest.approx({docid: score / 2 for docid, score in plain["q"].items()}, rel=1e-6)


def test_the_order_of_documents_does_not_matter(tmp_path: Path) -> None:
    docs, queries = collection(), {"q": "w9 w11", "p": "w5"}
    assert search(tmp_path, docs, queries, **FED) == search(tmp_path, dict(reversed(docs.items())), queries, **FED)


def test_tuning_chooses_k1_and_b_first_and_then_the_feedback(tmp_path: Path) -> None:
    docs = store_of(collection(), "made", tmp_path)
    options = BM25(stemmer="none", stopwords="none", feedback="rm3", tune=True)
    tuned = options.tuned(docs, {"q": "w11 w9"}, lambda run: float(len(run["q"])))
    assert list(tuned.chosen) == ["k1", "b", "fb_docs", "fb_terms", "fb_original"]
    assert (tuned.chosen["k1"], tuned.chosen["b"]) == (0.9, 0.4), "the number of documents does not depend on them"
    plain = [value for setting, value in tuned.table if "fb_docs" not in setting]
    assert len(plain) == 25 and tuned.value == max(value for _, value in tuned.table) > max(plain)


def test_a_metric_of_the_first_documents_tunes_alike_on_these_alone(tmp_path: Path) -> None:
    docs = store_of(collection(), "made", tmp_path)
    options = BM25(stemmer="none", stopwords="none", feedback="rm3", tune=True)
    queries, lengths = {"q": "w11 w9", "p": "w5 w3"}, set[int]()

    def value(run: Run) -> float:
        lengths.update(map(len, run.values()))
        return sum(hash_of(docid) / rank for found in run.values() for rank, docid in enumerate(list(found)[:2], 1))

    whole = options.tuned(docs, queries, value)
    assert max(lengths) > 2
    lengths.clear()
    assert options.tuned(docs, queries, value, 2) == whole and lengths == {2}
    assert [depth_of(each) for each in ("ndcg_cut_10", "RR@5", "map", "iprec_at_recall_0.10")] == [10, 5, None, None]


def hash_of(docid: str) -> int:
    return zlib.crc32(docid.encode())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fb_docs": 3}, "fb_docs: there is no feedback without `feedback: rm3`"),
        ({"tune": True, "feedback": "rm3", "fb_terms": 3, "b": 0.5}, "leave out b, fb_terms"),
        ({"feedback": "rm4"}, "rm3"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        component_from(SEARCHERS, {"name": "bm25", **options})
