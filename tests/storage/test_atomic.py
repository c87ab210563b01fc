"""Files and directories that take another's place: all of the new one or all of the old one."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from rankcli.errors import StorageError
from rankcli.storage.atomic import TEMPORARY, make_directory, replacing_file, sync_tree, write_file
from rankcli.storage.scratch import replacing_directory, scratch, scratch_file, sweep


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_file_appears_at_the_end_of_the_block(tmp_path: Path) -> None:
    with replacing_file(tmp_path / "file") as place:
        place.write_text("whole")
        assert not (tmp_path / "file").exists()
    assert tree(tmp_path) == {"file": b"whole"}


def test_an_error_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(RuntimeError), replacing_file(tmp_path / "file") as place:
        place.write_text("half")
        raise RuntimeError
    assert tree(tmp_path) == {"file": b"old"}


def test_another_process_that_sweeps_between_making_and_locking_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, real = list[str](), os.open

    def open_and_sweep(name: Path, *args: int) -> int:
        descriptor = real(name, *args)
        if not opened:
            opened.append(Path(name).name)
            sweep(tmp_path, f"file.{TEMPORARY}")
        return descriptor

    monkeypatch.setattr("rankcli.storage.atomic.os.open", open_and_sweep)
    with replacing_file(tmp_path / "file") as place:
        assert place.name != opened[0]
        place.write_text("whole")
    assert tree(tmp_path) == {"file": b"whole"}


def test_a_file_that_must_not_be_replaced_is_left(tmp_path: Path) -> None:
    assert write_file(tmp_path / "new" / "file", b"first", replace=False)
    assert not write_file(tmp_path / "new" / "file", b"second", replace=False)
    assert tree(tmp_path) == {"new/file": b"first"}


def test_a_file_where_a_folder_is_wanted_is_a_storage_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as refused:
        write_file(tmp_path / "file" / "below", b"")
    assert refused.value.exit_code == 6


def test_every_file_and_folder_of_a_tree_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("")
    seen: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: seen.append(os.readlink(f"/proc/self/fd/{number}")))
    sync_tree(tmp_path)
    assert sorted(os.path.relpath(name, tmp_path) for name in seen) == [".", "a", "a/b", "a/b/file"]


def test_a_directory_takes_the_place_of_another(tmp_path: Path) -> None:
    for content in ("first", "second"):
        with replacing_directory(tmp_path / "made") as building:
            (building / f"{content}.txt").write_text(content)
            assert "second.txt" not in tree(tmp_path / "made")
    assert tree(tmp_path) == {"made/second.txt": b"second"}


def test_a_directory_whose_successor_cannot_come_steps_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "old").write_text("old")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name == "built":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="Input/output"), replacing_directory(tmp_path / "made") as building:
        (building / "new").write_text("new")
    assert tree(tmp_path) == {"made/old": b"old"}


@pytest.mark.faults
def test_a_killed_builder_is_cleaned_up_by_the_next_of_the_same_name_only(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    if not (child := os.fork()):
        with replacing_directory(tmp_path / "made") as building:
            (building / "half").write_text("half")
            os.write(writing, b".")
            os.kill(os.getpid(), 9)
    os.read(reading, 1)
    os.waitpid(child, 0)
    theirs = [tmp_path / "tmp.A1b2C3", tmp_path / "made.tmp.backup", tmp_path / "other.tmp.1.ab"]
    for folder in theirs:
        folder.mkdir()
        (folder / "kept").write_text("")
    (theirs[-1] / "lock").touch()
    assert len(list(tmp_path.glob("made.tmp.*"))) == 2
    with scratch(tmp_path, "made") as living, replacing_directory(tmp_path / "made") as building:
        (building / "whole").write_text("whole")
        assert living.exists()
    assert sorted(tmp_path.iterdir()) == sorted([*theirs, tmp_path / "made"])


@pytest.mark.faults
def test_what_a_killed_writer_left_goes_with_the_next_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files and empty directories that are named like ours; not links, pipes, or what only looks alike."""
    dead, empty = (tmp_path / f"tmp.12.{digit * 32}" for digit in "ab")
    dead.write_bytes(b"12345")
    empty.mkdir()
    theirs = [tmp_path / name for name in ("tmp.notes", "tmp.12.abc", "tmp.folder", f"tmp.12.{'c' * 32}")]
    for path in theirs[:2]:
        path.write_text("kept")
    theirs[2].mkdir()
    os.mkfifo(theirs[3])
    link = tmp_path / f"tmp.12.{'d' * 32}"
    link.symlink_to(theirs[0])
    with scratch_file(tmp_path) as living:
        living.write_bytes(b"half")
        with scratch_file(tmp_path) as other:
            assert living.read_bytes() == b"half" and other != living
    assert sorted(tmp_path.iterdir()) == sorted([*theirs, link])
    assert capsys.readouterr().err == f"removed what an interrupted run had left: {dead.name}, 5 bytes\n"


def test_a_file_that_has_got_its_name_stays_when_its_writer_ends(tmp_path: Path) -> None:
    with scratch_file(tmp_path / "root") as path:
        path.write_bytes(b"whole")
        path.rename(tmp_path / "root" / "file")
    assert tree(tmp_path) == {"root/file": b"whole"}
    umask = os.umask(0o022)
    os.umask(umask)
    assert (tmp_path / "root" / "file").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_new_directory_is_synced_into_those_above_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: seen.append(os.readlink(f"/proc/self/fd/{number}")))
    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    assert sorted(seen) == [str(tmp_path), str(tmp_path / "a")]


class Usage(NamedTuple):
    """The part of the result of `shutil.disk_usage` that is read."""

    free: int


@pytest.mark.parametrize("data", [b"", b"12345"])
def test_a_full_disk_is_said_with_the_bytes_that_were_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(free=1235))
    with pytest.raises(StorageError) as caught:
        write_file(tmp_path / "file", data)
    wanted = f"No space left on device: {len(data)} bytes were to be written, 1,235 bytes are free"
    assert (caught.value.what, caught.value.where) == (wanted, str(tmp_path / "file"))
    assert caught.value.exit_code == 6 and tree(tmp_path) == {}
