from __future__ import annotations

import dataclasses
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from rankcli.config.schema import Data, Folds
from rankcli.data.dataset import Dataset, load_dataset
from rankcli.data.trec import Run, read_run, write_run
from rankcli.errors import ConfigError, DataError, StorageError
from rankcli.runs.candidates import first_stage, first_stages, warn_unanswered
from rankcli.searchers.bm25 import BM25
from rankcli.verbs.search import search

WORDS = ("apple", "pear", "plum", "fig", "lime", "kiwi")


def write(folder: Path, words: tuple[str, ...] = WORDS) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    for name, lines in {
        "docs": [f"d{n}\t{word} {words[n - 1]}" for n, word in enumerate(words)],
        "queries": [f"q-{word}\t{word}" for word in words],
        "qrels": [f"q-{word} 0 d{n} 1" for n, word in enumerate(words)],
    }.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    return {name: str(folder / name) for name in ("docs", "queries", "qrels")}


def load(folder: Path, words: tuple[str, ...] = WORDS) -> Dataset:
    return load_dataset(Data(**write(folder, words), folds=Folds(k=3)), folder / "scratch")


def kept(folder: Path) -> set[str]:
    return {path.name for path in (folder / "scratch").glob("first-stage-*")}


def test_searches_once_and_then_reads_the_same_run(tmp_path: Path, monkeypatch) -> None:
    dataset = load(tmp_path)
    run = first_stage(dataset, BM25(), tmp_path / "scratch")
    assert {qid: list(found) for qid, found in run.items()}["q-pear"] == ["d2", "d1"]
    monkeypatch.setattr(BM25, "build", None)
    assert first_stage(dataset, BM25(), tmp_path / "scratch") == run


def test_options_queries_and_collection_name_the_kept_run(tmp_path: Path) -> None:
    dataset = load(tmp_path)
    for options in (BM25(), BM25(k1=1.2), BM25(k=1)):
        first_stage(dataset, options, tmp_path / "scratch")
    fewer = dataclasses.replace(dataset, split={**dataset.split, "test": ()})
    first_stage(fewer, BM25(), tmp_path / "scratch")
    first_stage(load(tmp_path, (*WORDS[:5], "mango")), BM25(), tmp_path / "scratch")
    assert len(kept(tmp_path)) == 2 * 5


def test_the_folds_of_one_split_share_the_kept_run(tmp_path: Path) -> None:
    dataset = load(tmp_path)
    runs = [first_stage(dataset.at_fold(fold), BM25(), tmp_path / "scratch") for fold in range(3)]
    assert runs[0] == runs[1] == runs[2] and len(kept(tmp_path)) == 2


def test_a_damaged_kept_run_is_never_used(tmp_path: Path) -> None:
    dataset = load(tmp_path)
    run = first_stage(dataset, BM25(), tmp_path / "scratch")
    (path,) = (tmp_path / "scratch").glob("*.run")
    path.write_text(path.read_text().replace("d1", "d3", 1))
    with pytest.raises(StorageError, match="damaged"):
        first_stage(dataset, BM25(), tmp_path / "scratch")
    path.with_suffix(".json").unlink()
    assert first_stage(dataset, BM25(), tmp_path / "scratch") == run


def test_queries_without_candidates_are_kept_and_counted(tmp_path: Path, capsys) -> None:
    dataset = load(tmp_path)
    dataset = dataclasses.replace(dataset, queries={**dataset.queries, "q-fig": "nothing like it"})
    for _ in range(2):
        assert first_stage(dataset, BM25(), tmp_path / "scratch")["q-fig"] == {}
        assert "warning: 1 of 6 queries have no candidates, e.g. 'q-fig'" in capsys.readouterr().err


def test_a_few_queries_without_candidates_are_no_warning(capsys) -> None:
    run = {f"q{n}": {"d": 1.0} for n in range(99)}
    warn_unanswered(run, [*run, "gone"])
    assert capsys.readouterr().err.startswith("1 of 100 queries have no candidates")
    warn_unanswered(run, [*run, "gone", "too"])
    assert capsys.readouterr().err.startswith("warning: 2 of 101 queries")


def test_nothing_found_at_all_is_kept_too(tmp_path: Path) -> None:
    dataset = load(tmp_path)
    dataset = dataclasses.replace(dataset, queries=dict.fromkeys(dataset.queries, "nothing"))
    for _ in range(2):
        assert first_stage(dataset, BM25(), tmp_path / "scratch") == {qid: {} for qid in dataset.queries}


def test_a_run_file_is_joined_and_cut_to_the_split(tmp_path: Path, capsys) -> None:
    dataset = load(tmp_path)
    given: Run = {"q-fig": {"d1": 1.0, "gone": 2.0}, "unknown": {"d1": 1.0}}
    write_run(tmp_path / "given.run", given)
    assert first_stage(dataset, str(tmp_path / "given.run"), tmp_path / "scratch") == {"q-fig": {"d1": 1.0}}
    warned = capsys.readouterr().err
    assert (
        "1 of 2 query ids" in warned
        and "1 of 2 retrieved documents" in warned
        and "5 of 6 queries have no candidates" in warned
    )


def test_a_run_file_is_kept_to_the_depth_that_training_reads(tmp_path: Path) -> None:
    run = "".join(f"q-{word} Q0 d{n} 1 {10 - n} t\n" for word in WORDS for n in range(6))
    (tmp_path / "all.run").write_text(run)
    data = Data(**write(tmp_path), folds=Folds(k=3), run=str(tmp_path / "all.run"))
    dataset = load_dataset(data, tmp_path / "scratch")
    cut, whole = (first_stages(dataset, data, tmp_path, depth)[""] for depth in (2, None))
    for split, depth in (("train", 2), ("dev", 6), ("test", 6)):
        for qid in dataset.split[split]:
            assert list(cut[qid]) == [f"d{n}" for n in range(depth)] == list(whole[qid])[:depth]
    # of a document that is not in the collection, deeper ones take the place
    (tmp_path / "all.run").write_text(run.replace(" d1 ", " gone "))
    cut = first_stages(dataset, data, tmp_path, 2)[""]
    assert {tuple(cut[qid])[:2] for qid in dataset.split["train"]} == {("d0", "d2")}


def _search_at_once(folder: Path, barrier: Any, results: Any) -> None:
    dataset = load_dataset(
        Data(**{name: str(folder / name) for name in ("docs", "queries", "qrels")}, folds=Folds(k=3)),
        folder / "scratch",
    )
    barrier.wait(60)
    results.put([first_stage(dataset, BM25(k=depth), folder / "scratch") for depth in (1, 2)])


def test_defect_21_concurrent_searches_do_not_disturb_each_other(tmp_path: Path) -> None:
    write(tmp_path)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_search_at_once, args=(tmp_path, barrier, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    alone = [first_stage(load(tmp_path / "alone"), BM25(k=depth), tmp_path / "alone" / "scratch") for depth in (1, 2)]
    assert found == [alone] * 4
    assert len(kept(tmp_path)) == 4 and not [path for path in (tmp_path / "scratch").iterdir() if ".tmp." in path.name]


def test_search_writes_a_run_and_says_what_it_did(tmp_path: Path) -> None:
    files = write(tmp_path)
    done = search(files["docs"], files["queries"], str(tmp_path / "out.run"), BM25(k=1), tmp_path / "scratch")
    assert done.pop("seconds") > 0
    assert done == {"documents": 6, "queries": 6, "answered": 6, "lines": 6}
    assert {qid: list(found) for qid, found in read_run(tmp_path / "out.run").items()}["q-plum"] == ["d3"]


def test_search_tunes_on_judgments(tmp_path: Path, capsys) -> None:
    files = write(tmp_path)
    done = search(
        files["docs"],
        files["queries"],
        str(tmp_path / "out.run"),
        BM25(),
        tmp_path / "scratch",
        tune_qrels=files["qrels"],
        metric="recip_rank",
    )
    assert len(done["table"]) == 25 and (done["k1"], done["b"]) == (0.9, 0.4), "where all are equal the defaults stay"
    assert "have seen these judgments" in capsys.readouterr().err


def test_search_refuses_a_metric_before_it_reads_anything(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown metric"):
        search("none", "none", "none", BM25(), tmp_path, tune_qrels="none", metric="ndgc")


def test_search_refuses_judgments_of_other_queries(tmp_path: Path) -> None:
    files = write(tmp_path)
    (tmp_path / "qrels").write_text("z 0 d1 1\n")
    with pytest.raises(DataError, match="no query id is among the queries"):
        search(
            files["docs"],
            files["queries"],
            str(tmp_path / "o"),
            BM25(),
            tmp_path / "scratch",
            tune_qrels=files["qrels"],
        )
