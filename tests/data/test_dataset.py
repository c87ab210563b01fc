"""Joins: one test per row of the table in docs/data.md, and what a dataset gives afterwards."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rankcli.config.schema import Data, Folds
from rankcli.data import joins, stdlib_docs
from rankcli.data.dataset import Dataset, load_dataset
from rankcli.data.stdlib_docs import StdlibDocs
from rankcli.data.trec import CompactRun
from rankcli.errors import ConfigError, DataError

QIDS = ("a", "b", "c", "d", "e", "f")
QRELS = "".join(f"{qid} 0 d{n} {1 + n % 2}\n{qid} 0 d9 0\n" for n, qid in enumerate(QIDS))

THREE = Folds(k=3)


class Files:
    """A small collection on disk, any file of which a test may replace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.docs = self.put(
            "docs", "".join(json.dumps({"_id": f"d{n}", "text": f"text {n}"}) + "\n" for n in range(10))
        )
        self.queries = self.put("queries", "".join(f"{qid}\tquery {qid}\n" for qid in QIDS))
        self.qrels: Any = self.put("qrels", QRELS)

    def put(self, name: str, content: str) -> str:
        (self.folder / name).write_text(content)
        return str(self.folder / name)

    def load(self, folds: Folds | None = THREE, **more: Any) -> Dataset:
        data = Data(docs=self.docs, queries=self.queries, qrels=self.qrels, folds=folds, **more)
        return load_dataset(data, self.folder / "scratch")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_clean_collection_loads_without_a_warning(files: Files, capsys) -> None:
    dataset = files.load()
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["reading"]
    assert dataset.report == {
        "documents": 10,
        "empty_documents": 0,
        "queries": 6,
        "judged_queries": 6,
        "queries_with_relevant": 6,
        "judgments": 12,
        "judged_documents_absent": 0,
        "train_queries": 2,
        "dev_queries": 2,
        "test_queries": 2,
    }
    assert sorted(dataset.topics()) == list(QIDS) and dataset.topics()["a"] == "query a"


def test_no_judged_query_joins(files: Files) -> None:
    files.qrels = files.put("qrels", "".join(f"{n} 0 d1 1\n" for n in (10, 9, 8, 7)))
    with pytest.raises(
        DataError, match="no query id is among the queries: here '7', '8', '9', ...; there 'a', 'b', 'c'"
    ) as caught:
        files.load()
    assert caught.value.where == files.qrels


def test_only_leading_zeros_differ(files: Files) -> None:
    files.queries = files.put("queries", "001\tx\n002\ty\n")
    files.qrels = files.put("qrels", "1 0 d1 1\n2 0 d1 1\n")
    with pytest.raises(DataError, match="leading zeros"):
        files.load()


def test_ordinal_query_ids_against_sparse_ones_are_refused_though_some_join(files: Files) -> None:
    files.queries = files.put("queries", "1\tx\n2\ty\n4\tz\n9\tw\n")
    files.qrels = files.put("qrels", "".join(f"{n} 0 d1 1\n" for n in (1, 2, 3, 4)))
    with pytest.raises(DataError, match="seem to be positions"):
        files.load()


def test_some_judged_queries_are_unknown(files: Files, capsys) -> None:
    files.qrels = files.put("qrels", QRELS + "x 0 d1 1\ny 0 d1 1\n")
    dataset = files.load()
    assert f"{files.qrels}: 2 of 8 query ids are not among the queries" in capsys.readouterr().err
    assert sorted(dataset.qrels) == list(QIDS)


def test_some_queries_have_no_judgments(files: Files, capsys) -> None:
    files.queries = files.put("queries", "".join(f"{qid}\tquery {qid}\n" for qid in (*QIDS, "x", "y")))
    dataset = files.load()
    assert "2 of 8 queries have no judgments" in capsys.readouterr().err
    assert sorted(dataset.topics()) == list(QIDS)


def test_no_judged_document_is_in_the_collection(files: Files) -> None:
    files.qrels = files.put("qrels", QRELS.replace(" d", " d00"))
    with pytest.raises(
        DataError, match="no document id is in the collection: here 'd000', 'd001', 'd002', ...; there 'd0', 'd1'"
    ):
        files.load()


def test_some_judged_documents_are_absent(files: Files, capsys) -> None:
    files.qrels = files.put("qrels", QRELS + "a 0 gone 2\n")
    dataset = files.load(Folds(k=3, fold="all"))
    warned = capsys.readouterr().err
    assert (
        "1 of 8 judged documents are not in the collection: no training, but counted in metrics (e.g. 'gone')" in warned
    )
    assert dataset.judgments("test")["a"] == {"d0": 1, "d9": 0, "gone": 2}
    assert dataset.judged("test", CompactRun({})).qrels["a"] == {"d0": 1, "d9": 0}


def test_no_document_is_relevant_enough(files: Files) -> None:
    with pytest.raises(DataError, match="no query has a document of grade 3 or more; the highest grade is 2"):
        files.load(relevance_level=3)


def test_some_queries_have_no_relevant_document(files: Files, capsys) -> None:
    dataset = files.load(relevance_level=2)
    assert "3 of 6 judged queries have no document of grade 2 or more" in capsys.readouterr().err
    assert dataset.report["queries_with_relevant"] == 3 and dataset.report["judged_queries"] == 6


def test_no_query_of_a_run_joins(files: Files) -> None:
    dataset = files.load()
    with pytest.raises(DataError, match="no query id is among the queries") as caught:
        joins.join_run(CompactRun.of([("z", {"d1": 1.0})]), dataset.queries, dataset.docs, "x.run")
    assert caught.value.where == "x.run"


def test_some_queries_and_documents_of_a_run_are_unknown(files: Files, capsys) -> None:
    dataset = files.load()
    run = CompactRun.of({"z": {"d1": 1.0}, "a": {"d1": 2.0, "gone": 1.0}}.items())
    assert joins.join_run(run, dataset.queries, dataset.docs, "x.run") == {"a": {"d1": 2.0}}
    warned = capsys.readouterr().err
    assert "x.run: 1 of 2 query ids are not among the queries" in warned
    assert "x.run: 1 of 2 retrieved documents are not in the collection and are left out (e.g. 'gone')" in warned


def test_no_document_of_a_run_is_in_the_collection(files: Files) -> None:
    dataset = files.load()
    with pytest.raises(DataError, match="no document id is in the collection"):
        joins.join_run(CompactRun.of([("a", {"gone": 1.0})]), dataset.queries, dataset.docs, "x.run")


def test_id_files_split_the_queries(files: Files, capsys) -> None:
    parts = {
        name: files.put(name, ids) for name, ids in (("train", "a\nb\nnope\n"), ("dev", "c\n"), ("test", "d\ne\n"))
    }
    dataset = files.load(Folds(**parts))
    assert dataset.split == {"train": ("a", "b"), "dev": ("c",), "test": ("d", "e")}
    assert f"{parts['train']}: 1 of 3 query ids are not judged" in capsys.readouterr().err


def test_an_id_file_of_unknown_queries_is_refused(files: Files) -> None:
    parts = {name: files.put(name, ids) for name, ids in (("train", "a\n"), ("dev", "nope\n"), ("test", "d\n"))}
    with pytest.raises(DataError, match="none of these queries is judged") as caught:
        files.load(Folds(**parts))
    assert caught.value.where == parts["dev"]


def test_id_files_that_overlap_are_refused(files: Files) -> None:
    parts = {name: files.put(name, ids) for name, ids in (("train", "a\nb\n"), ("dev", "c\n"), ("test", "b\n"))}
    with pytest.raises(ConfigError, match="train and test share 1 queries, e.g. 'b'"):
        files.load(Folds(**parts))


def test_qrels_by_split_make_the_split(files: Files) -> None:
    lines = QRELS.splitlines(keepends=True)
    parts = {"train": lines[:6], "dev": lines[6:8], "test": lines[8:]}
    files.qrels = {name: files.put(name, "".join(part)) for name, part in parts.items()}
    dataset = files.load(None)
    assert dataset.split == {"train": ("a", "b", "c"), "dev": ("d",), "test": ("e", "f")}
    files.qrels["dev"] = files.qrels["test"]
    with pytest.raises(ConfigError, match="dev and test share 2 queries"):
        files.load(None)


@pytest.mark.parametrize("name", ["docs", "queries", "qrels"])
def test_an_empty_file_is_refused(files: Files, name: str) -> None:
    setattr(files, name, files.put(name, ""))
    with pytest.raises(DataError, match="empty") as caught:
        files.load()
    assert caught.value.where == f"{getattr(files, name)}:1"


def test_all_folds_pool_every_query_and_give_each_fold(files: Files) -> None:
    pooled = files.load(Folds(k=3, fold="all"))
    assert pooled.split == {"train": (), "dev": (), "test": QIDS}
    for fold in range(3):
        assert pooled.at_fold(fold).split == files.load(Folds(k=3, fold=fold)).split
    assert sorted(qid for fold in range(3) for qid in pooled.at_fold(fold).split["test"]) == list(QIDS)


def test_judged_gives_candidates_best_first(files: Files) -> None:
    dataset = files.load(Folds(k=3, fold="all"))
    run = CompactRun.of({"a": {"d1": 1.0, "d3": 2.0, "d2": 1.0}, "zzz": {"d1": 1.0}}.items())
    judged = dataset.judged("test", run)
    assert judged.qids == QIDS and [*judged.run] == ["a"] and judged.qrels["b"] == {"d1": 2, "d9": 0}
    assert judged.run["a"].docids == ("d3", "d2", "d1") and judged.run["a"].scores.tolist() == [2, 1, 1]


def test_triples_give_training_judgments_and_candidates(files: Files, capsys) -> None:
    parts = {name: files.put(name, ids) for name, ids in (("train", "a\nb\n"), ("dev", "c\n"), ("test", "d\n"))}
    triples = files.put("triples", "a\td1\td2\na\td1\tgone\ne\td1\td2\n")
    dataset = files.load(Folds(**parts), triples=triples)
    warned = capsys.readouterr().err
    assert "1 of 3 lines name a document that is not in the collection" in warned
    assert "1 of 2 query ids are not judged" in warned
    judged = dataset.judged("train", CompactRun.of([("a", {"d5": 1.0})]))
    assert (judged.qids, judged.qrels, [*judged.run]) == (("a",), {"a": {"d1": 1}}, ["a"])
    assert judged.run["a"].docids == ("d2",)
    assert dataset.judged("dev", CompactRun.of([("c", {"d5": 1.0})])).run["c"].docids == ("d5",)
    assert dataset.fingerprint("train") != files.load(Folds(**parts)).fingerprint("train")
    files.put("triples", "a\td1\td3\na\td1\tgone\ne\td1\td2\n")
    other = files.load(Folds(**parts), triples=triples)
    assert other.fingerprint("train") != dataset.fingerprint("train")
    assert other.fingerprint("dev") == dataset.fingerprint("dev")


def test_the_fingerprint_changes_with_what_it_covers_and_nothing_else(files: Files) -> None:
    def prints(name: str = "dev") -> tuple[str, ...]:
        return tuple(files.load(Folds(k=3, fold="all")).fingerprint(part) for part in (name, "test"))

    before = prints()
    files.qrels = files.put("qrels", "".join(sorted(QRELS.splitlines(keepends=True), reverse=True)))
    assert prints() == before
    for name, changed in (("qrels", QRELS.replace("a 0 d0 1", "a 0 d0 2")), ("queries", None), ("docs", None)):
        path = getattr(files, name)
        kept = Path(path).read_text()
        Path(path).write_text(changed or kept.replace("query a", "other a").replace("text 1", "other 1"))
        assert prints()[1] != before[1]
        Path(path).write_text(kept)
    assert re.fullmatch("[0-9a-f]{64}", before[0]) and prints() == before


def test_the_builtin_collection_brings_its_own_split(tmp_path: Path, monkeypatch) -> None:
    parts = ("train", "dev", "test", "train")
    made = StdlibDocs(
        docs={f"m.{n}": f"text {n}" for n in range(4)},
        queries={f"?m.{n}": f"query {n}" for n in range(4)},
        qrels={f"?m.{n}": {f"m.{n}": 1} for n in range(4)},
        split={f"?m.{n}": part for n, part in enumerate(parts)},
    )
    monkeypatch.setattr(stdlib_docs, "read", lambda: made)
    dataset = load_dataset(Data(builtin="stdlib-docs"), tmp_path)
    assert dataset.split == {"train": ("?m.0", "?m.3"), "dev": ("?m.1",), "test": ("?m.2",)}
    assert dataset.docs.texts(["m.2"]) == ["text 2"] and dataset.topics("dev") == {"?m.1": "query 1"}
