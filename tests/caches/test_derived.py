"""Files that commands make of inputs are listed with size and origin, and pruned where they are proved to be ours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.caches.derived import things
from rankcli.cli import run
from rankcli.data.documents import open_store
from rankcli.data.triple_files import open_triples
from rankcli.runs.encoded import kept_vectors
from rankcli.runs.journal import journal
from rankcli.runs.prepare import prepare
from rankcli.storage.locks import reading
from rankcli.training.encode import Encoded
from tests.caches.caches import json_of
from tests.storage.children import child_in


@pytest.fixture
def cache(tiny: Any, tmp_path: Path) -> Path:
    """A cache folder that holds documents, a first stage, triples, an unfinished rerank and hashes of inputs."""
    cache = tmp_path / "cache"
    prepare(tiny("TFKNRM"))
    (tmp_path / "triples.tsv").write_text("q0\td0\td1\n")
    open_triples(tmp_path / "triples.tsv", open_store(tmp_path / "docs.jsonl", None, cache), cache)
    with pytest.raises(KeyboardInterrupt), journal(cache, {"depth": 3}, "/some/out.run") as kept:
        kept.add({"q0": {"d0": 0.5}})
        with kept_vectors(kept, ("field", "other")) as vectors:
            vectors.add(Encoded("other", [0], np.ones((1, 4), np.float32), 1))
        raise KeyboardInterrupt
    from rankcli.data.hashes import _Known, _remember, _State

    _remember("/some/file", _Known(_State(1, 2, 3), "abc"))
    return cache


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return {each["kind"]: each for each in json_of(capsys, "cache", "ls")["work"]}


def test_everything_is_listed_with_its_size_and_what_it_is_made_of(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = listed(capsys)
    assert {kind: each["source"] for kind, each in found.items()} == {
        "documents": str(tmp_path / "docs.jsonl"),
        "first stage": str(tmp_path / "docs.jsonl"),
        "triples": str(tmp_path / "triples.tsv"),
        "unfinished rerank": "/some/out.run",
        "hashes of inputs": "",
    }
    (store,) = cache.glob("docs-*.sqlite")
    assert found["documents"]["bytes"] == store.stat().st_size + store.with_suffix(".json").stat().st_size
    assert not any(each["in_use"] for each in found.values())
    assert run(["cache", "ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [n for n, text in enumerate(lines) if text.startswith(store.name) and " documents " in text]
    assert lines[line + 1] == f"    {tmp_path / 'docs.jsonl'}"


def test_prune_frees_all_of_it_and_leaves_what_is_not_proved_to_be_ours(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = "0" * 32
    (store,) = cache.glob("docs-*.sqlite")
    foreign = [cache / f"docs-{strange}.sqlite", cache / f"first-stage-{strange}.run", cache / "docs-thesis.sqlite"]
    for path in foreign:
        path.write_text("mine")
    shutil.copy(store.with_suffix(".json"), foreign[0].with_suffix(".json"))  # the seal of another file
    for name in (
        f"triples-{strange}/table",
        "rerank/thesis/scores",
        f"rerank/{strange[:16]}/scores",
        "stage/" + strange,
    ):
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_text("mine")
        foreign.append(cache / name)
    (unfinished,) = [path.parent for path in (cache / "rerank").glob("*/about.json")]
    (unfinished / "notes.txt").write_text("mine")  # a file of ours in a folder is no proof for others beside it
    outside = tmp_path / "outside"
    store.rename(outside)
    store.symlink_to(outside)
    foreign += [unfinished / "notes.txt", unfinished / "scores", store]
    removed = {Path(each["path"]).name for each in json_of(capsys, "cache", "prune", "--max-bytes", "0")["removed"]}
    assert {name.split("-")[0] for name in removed} == {"first", "triples", "input"}
    assert all(path.exists() for path in foreign) and outside.exists()
    store.unlink()
    outside.rename(store)
    (unfinished / "notes.txt").unlink()
    assert {*listed(capsys)} == {"documents", "unfinished rerank"}
    assert len(json_of(capsys, "cache", "prune", "--max-bytes", "0")["removed"]) == 2
    assert not store.exists() and not store.with_suffix(".json").exists() and not unfinished.exists()
    assert listed(capsys) == {}


@pytest.mark.parametrize("kind", ["unfinished rerank", "triples"])
def test_a_file_that_comes_after_the_listing_stays_with_its_folder(kind: str, cache: Path) -> None:
    (thing,) = [each for each in things(cache) if each.kind == kind]
    (thing.path / "notes.txt").write_text("mine")
    assert thing.remove(lambda owner: None)
    assert [path.name for path in thing.path.iterdir()] == ["notes.txt"]


def test_unused_means_what_nobody_reads_and_nobody_will_go_on_with(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store,) = cache.glob("docs-*.sqlite")
    with child_in(_reading(store)):
        assert listed(capsys)["documents"]["in_use"]
        done = json_of(capsys, "cache", "prune", "--unused")
        assert [(each["path"], each["why"]) for each in done["kept"]] == [(str(store), "in use")]
        assert {*listed(capsys)} == {"documents", "unfinished rerank", "hashes of inputs"}
    assert [each["path"] for each in json_of(capsys, "cache", "prune", "--unused")["removed"]] == [str(store)]
    assert json_of(capsys, "cache", "prune", "--older-than", "1h")["removed"] == []
    again = open_store(tmp_path / "docs.jsonl", None, cache)
    assert again.path == store and len(again) == 24


def test_a_store_that_is_open_is_in_use(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = open_store(tmp_path / "docs.jsonl", None, cache)
    assert listed(capsys)["documents"]["in_use"]
    assert json.loads(opened.path.with_suffix(".json").read_text())["source"] == str(tmp_path / "docs.jsonl")
    del opened
    assert not listed(capsys)["documents"]["in_use"]


def _reading(path: Path) -> Any:
    from contextlib import contextmanager

    @contextmanager
    def held() -> Any:
        lock = reading(path)
        yield lock

    return held()
