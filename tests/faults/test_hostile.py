"""Ids that look like paths, and caches in which somebody has planted something: nothing leaves the cache's folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from record_fakes import converted

from rankcli.cli import run
from rankcli.records.interleave import Records, read_examples
from rankcli.records.lookup import load
from rankcli.storage.local import LocalStorage
from tests.faults.forked import convert_small, killed_in, read_small, started
from tests.faults.project import CONFIG, Project

pytestmark = pytest.mark.faults
TAKEN = ["../../etc/passwd", "..", ".", "/abs", "a//b", "~root", "gs://x", "a\u202eb", "-rf", "%s%n", "é" * 256]
REFUSED = ["a" * 4096, "é" * 257, "a\0b", "a\nb", "a b", "\x1b[2J"]


def state(folder: Path) -> dict[str, tuple[int, int, int] | None]:
    """Every path below a folder but `cache`, files with inode, size and time."""
    found: dict[str, tuple[int, int, int] | None] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "cache"]
        found |= {os.path.join(parent, name): None for name in folders}
        for path in (os.path.join(parent, name) for name in names):
            entry = os.stat(path)
            found[path] = entry.st_ino, entry.st_size, entry.st_mtime_ns
    return found


def write_texts(folder: Path, docids: list[str], qids: list[str], with_run: bool) -> None:
    """Query n is about document n; with `with_run`, the candidates come from a run file."""
    for name, ids in (("docs", docids), ("queries", qids)):
        rows = [json.dumps({"_id": each, "text": f"word{n} shared text"}) for n, each in enumerate(ids)]
        (folder / f"{name}.jsonl").write_text("".join(f"{row}\n" for row in rows))
    (folder / "qrels.txt").write_text("".join(f"{q} 0 {d} 1\n" for q, d in zip(qids, docids, strict=True)))
    lines = [f"{qid} Q0 {docid} {n + 1} {9 - n / 9} t\n" for qid in qids for n, docid in enumerate(docids)]
    (folder / "first.run").write_text("".join(lines))
    given = "docs: docs.jsonl, run: first.run," if with_run else "docs: docs.jsonl,"
    (folder / "config.yaml").write_text(CONFIG.replace("docs: docs.jsonl,", given).replace("400", "20"))


@pytest.fixture
def deep(tmp_path: Path) -> Project:
    """A folder below others, with an empty cache."""
    work = tmp_path / "some" / "deep" / "work"
    work.mkdir(parents=True)
    (tmp_path / "some" / "passwd").write_text("untouched")
    return Project(work, work / "cache")


@pytest.mark.parametrize("with_run", [False, True])
def test_ids_are_never_names_of_files(deep: Project, tmp_path: Path, with_run: bool) -> None:
    """Of queries, documents and runs; they are in the records as they are in the inputs."""
    write_texts(deep.folder, TAKEN, TAKEN, with_run)
    before = state(tmp_path)
    done = deep.run("convert")
    assert done.returncode == 0, done.stderr
    assert state(tmp_path) == before
    storage, seen = LocalStorage(deep.records), set()
    for cache_id in storage.list():
        manifest = load(storage, f"{cache_id}/1")
        for example in read_examples(Records(manifest, storage)):
            seen |= {example.qid, *example.docids}
    assert seen == set(TAKEN)
    names = {part for path in deep.cache.rglob("*") for part in path.relative_to(deep.cache).parts}
    assert names.isdisjoint(TAKEN) and all(name.isascii() for name in names)


@pytest.mark.parametrize("hostile", REFUSED)
@pytest.mark.parametrize("kind", ["query", "document"])
def test_ids_that_are_no_ids_are_refused(
    deep: Project,
    tmp_path: Path,
    hostile: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    others = [f"id{n}" for n in range(11)]
    ids = {"query": others, "document": others} | {kind: [*others[:5], hostile, *others[6:]]}
    write_texts(deep.folder, ids["document"], ids["query"], with_run=False)
    (deep.folder / "qrels.txt").write_text("".join(f"id{n} 0 id{n} 1\n" for n in (0, 1, 2, 3, 4, 7, 8, 9, 10)))
    before = state(tmp_path)
    monkeypatch.setenv("RANKCLI_CACHE", str(deep.cache))
    assert run(["convert", "--config", str(deep.folder / "config.yaml")]) == 3
    name = "queries" if kind == "query" else "docs"
    assert f"{name}.jsonl:6: " in capsys.readouterr().err and state(tmp_path) == before


SHARD = "c0ffee/1/shard-01-00000000-00000002.tfrecord"
MANIFEST = "c0ffee/1/manifest.json"


def link(path: Path, outside: Path) -> None:
    path.symlink_to(outside if path.suffix == "" else outside / "file")


def link_lock(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "file")


def hard_link(path: Path, outside: Path) -> None:
    os.link(outside / "file", path)


def pipe(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def directory(path: Path, outside: Path) -> None:
    path.mkdir()


PLANTED = [
    (link, "c0ffee", 6),
    (link, "c0ffee/1", 6),
    (link, "c0ffee/1/parts", 6),
    (link_lock, "c0ffee/lock", 6),
    (link_lock, "lock", 6),
    (directory, "c0ffee/lock", 6),
    (link, SHARD, 6),
    (directory, SHARD, 6),
    (hard_link, SHARD, 0),  # it is another file's name: that name is taken away, the file stays
    (pipe, SHARD, 0),
    (pipe, MANIFEST, 0),
    (link, MANIFEST, 0),  # not a manifest; the next generation is one
    (pipe, "c0ffee/1/parts/shard-01-00000000-00000002.tfrecord.json", 0),
]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that nobody may touch."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text("untouched")
    return folder


def ended(target: Callable[[Path], None], root: Path) -> int | None:
    """The exit code of a process; None, once it is killed, of one that waits for ever, as who opens a pipe does."""
    process = started(target, root)
    return None if killed_in(process, 60) else int(process.exitcode)


@pytest.mark.parametrize(("plant", "name", "code"), PLANTED)
def test_what_is_planted_before_a_conversion_is_refused_or_replaced(
    tmp_path: Path, outside: Path, plant: Callable[[Path, Path], None], name: str, code: int
) -> None:
    root = tmp_path / "root"
    (root / name).parent.mkdir(parents=True)
    plant(root / name, outside)
    before = state(outside)
    assert ended(convert_small, root) == code
    assert state(outside) == before and (outside / "file").read_text() == "untouched"
    if code == 0:
        assert ended(read_small, root) == 0


@pytest.mark.parametrize("plant", [link, hard_link, pipe, directory])
@pytest.mark.parametrize(("name", "code"), [(SHARD, 6), (MANIFEST, 4)])
def test_what_is_planted_in_a_cache_is_not_read(
    tmp_path: Path, outside: Path, plant: Callable[[Path, Path], None], name: str, code: int
) -> None:
    """A shard that is none is an error; a manifest that is none is no cache."""
    root = tmp_path / "root"
    converted(root, samples=19)
    (root / name).unlink()
    plant(root / name, outside)
    before = state(outside)
    assert ended(read_small, root) == code
    assert state(outside) == before


@pytest.mark.parametrize("name", ["c0ffee", "c0ffee/1"])
def test_a_whole_cache_elsewhere_is_not_found_through_a_link(tmp_path: Path, name: str) -> None:
    converted(tmp_path / "elsewhere", samples=19)
    assert ended(read_small, tmp_path / "elsewhere") == 0
    (tmp_path / "root" / name).parent.mkdir(parents=True)
    (tmp_path / "root" / name).symlink_to(tmp_path / "elsewhere" / name)
    assert ended(read_small, tmp_path / "root") == 4
    storage = LocalStorage(tmp_path / "root")
    assert storage.list(name) == [] and storage.size(MANIFEST) is None


def test_a_pipe_without_a_writer_as_a_shard_of_a_link_is_not_waited_for(tmp_path: Path, outside: Path) -> None:
    converted(tmp_path / "root", samples=19)
    os.mkfifo(outside / "pipe")
    (tmp_path / "root" / SHARD).unlink()
    (tmp_path / "root" / SHARD).symlink_to(outside / "pipe")
    assert ended(read_small, tmp_path / "root") == 6
