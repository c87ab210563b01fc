"""Local storage: all of a file or none of it, and directories that appear at once."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from rankcli.errors import ConfigError, MissingError, StorageError
from rankcli.storage.base import guard, open_storage
from rankcli.storage.local import LocalStorage
from rankcli.storage.scratch import sweep


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "root")


def test_bytes_come_back_and_no_temporary_file_stays(storage: LocalStorage) -> None:
    assert storage.write_bytes("ab/file.bin", b"one")
    assert storage.write_bytes("ab/file.bin", b"three")
    assert storage.read_bytes("ab/file.bin") == b"three"
    assert storage.size("ab/file.bin") == 5 and storage.size("ab/other") is None
    assert os.listdir(storage.root / "ab") == ["file.bin"] == storage.list("ab")


def test_create_if_absent_leaves_what_is_there(storage: LocalStorage) -> None:
    assert storage.write_bytes("file", b"first", replace=False)
    assert not storage.write_bytes("file", b"second", replace=False)
    assert storage.read_bytes("file") == b"first" and os.listdir(storage.root) == ["file"]


def test_data_are_synced_before_they_get_their_name_and_the_name_after(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def seen_fsync(descriptor: int) -> None:
        calls.append("directory" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def seen_replace(self: Path, target: Path) -> Path:
        calls.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(Path, "replace", seen_replace)
    storage.write_bytes("file", b"x")
    assert calls == ["file", "rename", "directory"]


def test_delete_removes_files_and_directories_and_minds_nothing_missing(storage: LocalStorage) -> None:
    storage.write_bytes("a/b/c", b"x")
    storage.write_bytes("d", b"x")
    for name in ("a", "d", "never"):
        storage.delete(name)
    assert storage.list() == []


@pytest.mark.parametrize("name", ["../up", "a/../b", "/abs", "", "a//b", "a\nb", ".hidden", "a\0", "gs:x"])
def test_names_cannot_lead_out_of_the_root(storage: LocalStorage, name: str) -> None:
    with pytest.raises(ValueError, match="is not a name in storage"):
        storage.write_bytes(name, b"x")


@pytest.mark.faults
def test_links_and_pipes_are_refused_and_not_waited_for(storage: LocalStorage, tmp_path: Path) -> None:
    storage.root.mkdir()
    (tmp_path / "secret").write_text("secret")
    (storage.root / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(storage.root / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(StorageError, match="not a regular file"):
            storage.read_bytes(name)
    with pytest.raises(StorageError, match="missing"):
        storage.fetch("missing")


def test_publishing_moves_a_whole_directory_once(storage: LocalStorage) -> None:
    for content, expected in ((b"first", True), (b"second", False)):
        with storage.scratch() as scratch:
            (scratch / "made").mkdir()
            (scratch / "made" / "file").write_bytes(content)
            assert storage.list() == ([] if expected else ["ab"])
            assert storage.publish(scratch / "made", "ab/12") is expected
    assert storage.read_bytes("ab/12/file") == b"first"
    assert os.listdir(storage.root) == ["ab"]


def test_scratch_is_gone_after_an_error(storage: LocalStorage) -> None:
    with pytest.raises(RuntimeError), storage.scratch() as scratch:
        (scratch / "file").write_bytes(b"x")
        raise RuntimeError
    assert os.listdir(storage.root) == []


@pytest.mark.faults
def test_only_what_dead_processes_left_is_swept(storage: LocalStorage, capsys: pytest.CaptureFixture[str]) -> None:
    storage.write_bytes("ab/keep", b"x")
    dead = storage.root / "tmp.1.dead"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "shard").write_bytes(b"12345")
    (storage.root / "tmp.link").symlink_to(storage.root / "ab")
    with storage.scratch() as living:
        assert not dead.exists() and "tmp.1.dead, 5 bytes" in capsys.readouterr().err
        sweep(storage.root)
        assert living.exists()
    assert sorted(os.listdir(storage.root)) == ["ab", "tmp.link"] and storage.list("ab") == ["keep"]


def test_a_directory_swept_before_it_is_locked_is_made_again(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, swept = fcntl.flock, []

    def sweep_first(descriptor: int, operation: int) -> None:
        if not swept:
            (lost,) = storage.root.glob("tmp.*")
            swept.append(lost)
            (lost / "lock").unlink()
            lost.rmdir()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", sweep_first)
    with storage.scratch() as scratch:
        assert scratch.exists() and scratch != swept[0]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_a_full_disk_is_a_storage_failure_that_names_the_path(code: int) -> None:
    with pytest.raises(StorageError) as caught, guard("cache/shard"):
        raise OSError(code, os.strerror(code))
    assert caught.value.exit_code == 6 and caught.value.where == "cache/shard" and "free some space" in caught.value.fix


@pytest.mark.faults
def test_a_failed_write_leaves_the_old_content(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    storage.write_bytes("file", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        storage.write_bytes("file", b"new")
    assert storage.read_bytes("file") == b"old" and os.listdir(storage.root) == ["file"]


def test_uris_say_which_storage(tmp_path: Path) -> None:
    assert open_storage(str(tmp_path)).uri == str(tmp_path) and "~" not in open_storage("~/caches").uri
    with pytest.raises(MissingError, match="not supported by this version"):
        open_storage("gs://bucket/caches")
    with pytest.raises(ConfigError, match="s3://"):
        open_storage("s3://bucket")
