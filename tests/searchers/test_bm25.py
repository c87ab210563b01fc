from __future__ import annotations

import math
import os
import random
from pathlib import Path

import numpy as np
import pytest

from rankcli.config.registry import SEARCHERS
from rankcli.data.documents import open_store
from rankcli.data.formats import read_queries
from rankcli.data.store import store_of
from rankcli.data.trec import Run, read_qrels
from rankcli.searchers.base import SearcherContext
from rankcli.searchers.bm25 import BM25, splitter

DOCS = {"a": "Cats chase mice", "b": "the cat, the cat sat", "c": "dogs bark at night loudly", "e": ""}


def search(folder: Path, docs: dict[str, str], queries: dict[str, str], **options) -> Run:
    return BM25(**options).build(SearcherContext(store_of(docs, "made", folder))).search(queries)


def test_is_registered_under_its_name() -> None:
    assert SEARCHERS.get("bm25") is BM25


def test_scores_are_those_of_the_formula_by_hand(tmp_path: Path) -> None:
    found = search(tmp_path, DOCS, {"q": "cat mouse Cats mice"}, k1=0.9, b=0.4)["q"]
    # Without stopwords, stemmed: a = cat chase mice (3), b = cat cat sat (3), c = dog bark night loud (4), e = nothing.
    mean = (3 + 3 + 4 + 0) / 4
    idf = {"cat": math.log(1 + 2.5 / 2.5), "mice": math.log(1 + 3.5 / 1.5)}
    norm = 0.9 * (1 - 0.4 + 0.4 * 3 / mean)
    a = 2 * idf["cat"] * 1 / (1 + norm) + idf["mice"] * 1 / (1 + norm)  # the query says "cat" twice
    b = 2 * idf["cat"] * 2 / (2 + norm)
    assert list(found) == ["a", "b"]
    assert found == pytest.approx({"a": a, "b": b}, rel=1e-6)


def test_words_are_lower_cased_stopped_and_then_stemmed() -> None:
    text = "The RUNNING of x the-Bulls: 2nd"
    assert splitter("english", "english")(text) == ["run", "bull", "2nd"]
    assert splitter("none", "english")(text) == ["running", "bulls", "2nd"]
    assert splitter("none", "none")(text) == ["the", "running", "of", "the", "bulls", "2nd"]
    assert splitter("german", "none")("Katzen") == ["katz"]


def test_what_matches_nothing_is_not_returned(tmp_path: Path) -> None:
    queries = {"empty": "", "stopwords": "the of", "unknown": "zebra", "one": "dog"}
    assert {qid: list(found) for qid, found in search(tmp_path, DOCS, queries).items()} == {
        "empty": [],
        "stopwords": [],
        "unknown": [],
        "one": ["c"],
    }


def test_a_collection_without_words_answers_nothing(tmp_path: Path) -> None:
    assert search(tmp_path, {"a": "", "b": "the"}, {"q": "word"}) == {"q": {}}


def test_at_most_k_are_returned_and_ties_at_the_end_go_by_id(tmp_path: Path) -> None:
    docs = {f"d{n}": "same words" for n in range(20)} | {"best": "same same words"}
    for order in (sorted(docs), sorted(docs, reverse=True)):
        found = search(tmp_path, {docid: docs[docid] for docid in order}, {"q": "same"}, k=4)["q"]
        assert list(found) == ["best", "d9", "d8", "d7"]


def test_the_order_of_documents_and_queries_does_not_matter(tmp_path: Path) -> None:
    chance = random.Random(3)
    words = [f"w{n}" for n in range(30)]
    docs = {f"d{n}": " ".join(chance.choices(words, k=chance.randint(1, 12))) for n in range(60)}
    queries = {f"q{n}": " ".join(chance.choices(words, k=3)) for n in range(10)}
    shuffled = dict(chance.sample(sorted(docs.items()), 60)), dict(chance.sample(sorted(queries.items()), 10))
    first, again = search(tmp_path, docs, queries, k=10), search(tmp_path, *shuffled, k=10)
    assert first == again and all(list(first[qid]) == list(again[qid]) for qid in queries)


def test_tuning_tries_the_whole_grid_and_takes_the_best(tmp_path: Path) -> None:
    docs = store_of({"long": "cat " * 2 + "filler " * 40, "short": "cat"}, "made", tmp_path)
    tuned = BM25().tuned(docs, {"q": "cat"}, lambda run: float(next(iter(run["q"])) == "long"))
    best = [setting for setting, value in tuned.table if value == 1]
    assert tuned.chosen == {"k1": 0.9, "b": 0.2} and tuned.value == 1, "of equal settings, the nearest to the default"
    assert 0 < len(best) < len(tuned.table) and {"k1": 0.9, "b": 0.9} not in best


def data_folder(name: str) -> Path:
    root = Path(__file__).parents[2]
    candidates = (
        [Path(os.environ["RANKCLI_DATA"])]
        if "RANKCLI_DATA" in os.environ
        else [root / "data", root.parent / "shared" / "data"]
    )
    for folder in candidates:
        if (folder / name / "corpus.jsonl").exists():
            return folder / name
    pytest.skip(f"{name} is not in $RANKCLI_DATA or data/")


def ndcg_at_10(folder: Path, scratch: Path, **options: str) -> float:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    store = open_store(folder / "corpus.jsonl", None, scratch)
    run = BM25(**options).build(SearcherContext(store)).search(read_queries(folder / "queries.jsonl"))
    qrels = read_qrels(folder / "qrels.txt")
    found = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10"}).evaluate(dict(run))
    return float(np.sum([values["ndcg_cut_10"] for values in found.values()]) / len(qrels))


PLAIN = {"stemmer": "none", "stopwords": "none"}


@pytest.mark.collections
@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [("vaswani", {}, 0.4449), ("vaswani", PLAIN, 0.3754), ("cranfield", {}, 0.4996), ("cranfield", PLAIN, 0.4840)],
)
def test_known_figures(tmp_path: Path, name: str, options: dict[str, str], expected: float) -> None:
    assert ndcg_at_10(data_folder(name), tmp_path, **options) == pytest.approx(expected, abs=5e-5)
