"""Hashes of input files, remembered from run to run."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from rankcli.data import hashes
from rankcli.data.files import sha256_file
from rankcli.data.hashes import input_sha256, reading_inputs_anew

LONG_AGO = 1_600_000_000_123_456_789


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read through."""
    found: list[str] = []

    def noted(path: str | Path) -> str:
        found.append(Path(path).name)
        return sha256_file(path)

    monkeypatch.setattr(hashes, "sha256_file", noted)
    return found


def put(folder: Path, content: str, name: str = "docs", mtime_ns: int = LONG_AGO) -> Path:
    path = folder / name
    path.write_text(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


def of(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def test_an_unchanged_file_is_read_once(folder: Path, read: list[str]) -> None:
    path = put(folder, "one")
    assert [input_sha256(path) for _ in range(3)] == [of("one")] * 3 and read == ["docs"]
    assert input_sha256(str(path)) == of("one") and read == ["docs"]
    with reading_inputs_anew():
        assert input_sha256(path) == of("one") and read == ["docs", "docs"]
    assert input_sha256(path) == of("one") and len(read) == 2


def test_a_file_changed_in_place_is_read_again(folder: Path, read: list[str]) -> None:
    path = put(folder, "one")
    input_sha256(path)
    put(folder, "two", mtime_ns=LONG_AGO + 1)
    assert input_sha256(path) == of("two") and len(read) == 2
    put(folder, "more", mtime_ns=LONG_AGO + 1)
    assert input_sha256(path) == of("more") and len(read) == 3


def test_another_file_of_the_same_size_and_time_is_seen_by_its_inode(folder: Path) -> None:
    path = put(folder, "one")
    input_sha256(path)
    put(folder, "two", "other").replace(path)
    assert path.stat().st_mtime_ns == LONG_AGO and input_sha256(path) == of("two")


def test_a_file_that_was_just_changed_is_not_remembered(folder: Path, read: list[str]) -> None:
    path = put(folder, "one", mtime_ns=time.time_ns())
    input_sha256(path)
    put(folder, "two", mtime_ns=path.stat().st_mtime_ns)  # in the same tick of the clock
    assert input_sha256(path) == of("two") and len(read) == 2


@pytest.mark.parametrize("damage", ["", "{", '{"files": 3}', "flip", '{"files": [], "checksum": "0"}'])
def test_a_damaged_memory_is_ignored_with_a_warning_and_made_anew(
    damage: str, folder: Path, read: list[str], capsys
) -> None:
    path, memory = put(folder, "one"), folder / "cache" / hashes.NAME
    input_sha256(path)
    good = memory.read_text()
    memory.write_text(good.replace(of("one"), of("two")) if damage == "flip" else damage)
    assert input_sha256(path) == of("one") and len(read) == 2
    assert "is damaged and not used" in capsys.readouterr().err
    assert memory.read_text() == good


def test_it_holds_the_files_hashed_last_and_no_more(folder: Path, read: list[str], monkeypatch) -> None:
    monkeypatch.setattr(hashes, "MOST", 3)
    for n in range(5):
        input_sha256(put(folder, str(n), f"f{n}"))
    read.clear()
    for n in (4, 3, 2, 0):
        input_sha256(folder / f"f{n}")
    assert read == ["f0"]


def test_a_cache_folder_that_cannot_be_written_is_no_failure(folder: Path, capsys) -> None:
    (folder / "cache").write_text("a file")
    assert input_sha256(put(folder, "one")) == of("one")
    assert "is not remembered" in capsys.readouterr().err


def hash_all(folder: Path, first: int) -> None:
    for n in range(first, first + 20):
        input_sha256(folder / f"f{n}")


def test_processes_that_hash_at_once_remember_all(folder: Path, read: list[str]) -> None:
    for n in range(60):
        put(folder, str(n), f"f{n}")
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=hash_all, args=(folder, first)) for first in (0, 20, 40)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert [input_sha256(folder / f"f{n}") for n in range(60)] == [of(str(n)) for n in range(60)] and read == []
