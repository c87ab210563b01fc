"""Ids are data, never file names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rankcli.config.schema import Data, Folds
from rankcli.data.dataset import load_dataset
from rankcli.data.trec import read_run, write_run
from rankcli.errors import DataError
from rankcli.runs.candidates import first_stage
from rankcli.searchers.bm25 import BM25

HARMLESS = [
    "../../etc/passwd",
    "..",
    ".",
    "/abs",
    "a//b",
    "~root",
    "gs://x",
    "שלום",
    "a\u202eb",
    "-rf",
    "$(touch x)",
    "%s%n",
    "'; --",
]
REFUSED = ["a" * 4096, "a\0b", "a\nb", "a b", "\x1b[2J", "\u2029x", "\x85"]


def tree(folder: Path) -> dict[str, tuple[int, int] | None]:
    """Every path under a folder but `scratch`, with size and time of files."""
    found: dict[str, tuple[int, int] | None] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "scratch"]
        found |= {os.path.join(parent, name): None for name in folders}
        for path in (os.path.join(parent, name) for name in names):
            found[path] = os.stat(path).st_size, os.stat(path).st_mtime_ns
    return found


def test_hostile_ids_write_nothing_outside_the_scratch_folder(tmp_path: Path, monkeypatch) -> None:
    work = tmp_path / "deep" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    ids = [hostile.replace(" ", "_") for hostile in HARMLESS]
    Path("docs").write_text(
        "".join(json.dumps({"_id": i, "text": f"word{n} shared"}) + "\n" for n, i in enumerate(ids))
    )
    Path("queries").write_text("".join(json.dumps({"_id": i, "text": f"word{n}"}) + "\n" for n, i in enumerate(ids)))
    Path("qrels").write_text("".join(f"{i} 0 {i} 1\n" for i in ids))
    before = tree(tmp_path)
    data = Data(docs="docs", queries="queries", qrels="qrels", folds=Folds(k=3, fold="all"))
    dataset = load_dataset(data, work / "scratch")
    run = first_stage(dataset, BM25(), work / "scratch")
    write_run("scratch/out.run", run, "../tag")
    assert {qid: list(found) for qid, found in run.items()} == {i: [i] for i in ids}
    assert read_run("scratch/out.run") == run and first_stage(dataset, "scratch/out.run", work / "scratch") == run
    assert tree(tmp_path) == before
    assert all(name.startswith(("docs-", "first-stage-", "out.run")) for name in os.listdir("scratch"))


@pytest.mark.parametrize("hostile", REFUSED, ids=range(len(REFUSED)))
def test_ids_that_could_break_a_line_or_a_terminal_are_refused(tmp_path: Path, hostile: str) -> None:
    path = tmp_path / "docs"
    path.write_text(json.dumps({"_id": hostile, "text": "x"}) + "\n")
    (tmp_path / "queries").write_text("q\tx\n")
    (tmp_path / "qrels").write_text("q 0 d 1\n")
    data = Data(docs=str(path), queries=str(tmp_path / "queries"), qrels=str(tmp_path / "qrels"), folds=Folds(k=3))
    with pytest.raises(DataError) as caught:
        load_dataset(data, tmp_path / "scratch")
    assert caught.value.where == f"{path}:1"
    assert str(caught.value).replace("\n  -> ", "").isprintable() and len(str(caught.value)) < 400


def test_defect_20_no_stray_folders_in_the_working_directory(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for name, content in (
        ("docs", "d\tone two\n"),
        ("queries", "a\tone\nb\ttwo\nc\tone\n"),
        ("qrels", "a 0 d 1\nb 0 d 1\nc 0 d 1\n"),
    ):
        Path("in", name).write_text(content)
    data = Data(docs="in/docs", queries="in/queries", qrels="in/qrels", folds=Folds(k=3))
    dataset = load_dataset(data, tmp_path / "scratch")
    first_stage(dataset, BM25(), tmp_path / "scratch")
    assert sorted(os.listdir()) == ["in", "scratch"]
