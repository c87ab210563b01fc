"""Properties of local storage alone: files that are synced, links and pipes, locks of the system."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from rankcli.errors import StorageError
from rankcli.storage.disk import guard
from rankcli.storage.local import LocalStorage
from rankcli.storage.scratch import scratch, sweep
from tests.storage.children import child_in, kill


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "root")


def put(storage: LocalStorage, data: bytes, *, replace: bool = False) -> bool:
    path = storage.root.parent / "built"
    path.write_bytes(data)
    return storage.put(path, "ab/shard", replace=replace)


@pytest.mark.parametrize("operation", ["write_bytes", "put", "replace"])
def test_data_are_synced_before_they_get_their_name_and_the_name_after(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    calls: list[str] = []
    fsync, replace, link = os.fsync, Path.replace, os.link

    def seen_fsync(descriptor: int) -> None:
        calls.append("directory" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def seen_replace(self: Path, target: Path) -> Path:
        calls.append("name")
        return replace(self, target)

    def seen_link(path: Path, target: Path) -> None:
        calls.append("name")
        link(path, target)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(Path, "replace", seen_replace)
    monkeypatch.setattr(os, "link", seen_link)
    if operation == "write_bytes":
        storage.write_bytes("file", b"x")
    else:
        assert put(storage, b"x", replace=operation == "replace")
    assert calls[-3:] == ["file", "name", "directory"]


def test_no_temporary_file_stays(storage: LocalStorage) -> None:
    storage.write_bytes("ab/file", b"one")
    assert put(storage, b"first") and not put(storage, b"second") and put(storage, b"third", replace=True)
    assert sorted(os.listdir(storage.root / "ab")) == ["file", "shard"]


@pytest.mark.parametrize("replace", [False, True])
def test_a_file_of_another_file_system_is_copied(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    built, link, rename = storage.root.parent / "built", os.link, Path.replace

    def linked(path: Path, target: Path) -> None:
        if path == built:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(path, target)

    def renamed(self: Path, target: Path) -> Path:
        if self == built:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(os, "link", linked)
    monkeypatch.setattr(Path, "replace", renamed)
    assert put(storage, b"first", replace=replace) and storage.read_bytes("ab/shard") == b"first"
    assert put(storage, b"other", replace=replace) is replace
    assert storage.read_bytes("ab/shard") == (b"other" if replace else b"first")
    assert os.listdir(storage.root / "ab") == ["shard"]


@pytest.mark.faults
def test_links_pipes_and_directories_are_refused_and_not_waited_for(storage: LocalStorage, tmp_path: Path) -> None:
    (storage.root / "directory").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (storage.root / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(storage.root / "pipe")
    for name in ("link", "pipe", "directory"):
        for read in (storage.read_bytes, storage.fetch):
            with pytest.raises(StorageError, match="not a regular file"):
                read(name)


def test_deleting_a_link_to_a_directory_leaves_what_it_leads_to(storage: LocalStorage, tmp_path: Path) -> None:
    storage.write_bytes("a/b", b"x")
    (tmp_path / "kept").mkdir()
    (storage.root / "link").symlink_to(tmp_path / "kept")
    storage.delete("link")
    assert (tmp_path / "kept").is_dir() and os.listdir(storage.root) == ["a"]


def test_links_are_named_and_not_followed(storage: LocalStorage, tmp_path: Path) -> None:
    storage.write_bytes("a/b", b"x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c").touch()
    (storage.root / "a" / "file").symlink_to(tmp_path / "elsewhere" / "c")
    (storage.root / "a" / "folder").symlink_to(tmp_path / "elsewhere")
    assert list(storage.below()) == ["a/b", "a/file"] and list(storage.below("a/folder")) == []


def test_what_is_being_built_and_what_is_no_name_is_not_listed(storage: LocalStorage) -> None:
    storage.write_bytes("shard", b"x")
    for name in ("tmp.1.ab", "shard.tmp.1.ab", ".hidden", "a b"):
        (storage.root / name).touch()
    assert storage.list() == ["shard"] == list(storage.below())


@pytest.mark.faults
def test_only_what_dead_processes_left_is_swept(storage: LocalStorage, capsys: pytest.CaptureFixture[str]) -> None:
    storage.write_bytes("ab/keep", b"x")
    dead = storage.root / "tmp.1.dead"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "shard").write_bytes(b"12345")
    (storage.root / "tmp.link").symlink_to(storage.root / "ab")
    with scratch(storage.root) as living:
        assert not dead.exists() and "tmp.1.dead, 5 bytes" in capsys.readouterr().err
        sweep(storage.root)
        assert living.exists()
    assert sorted(os.listdir(storage.root)) == ["ab", "tmp.link"] and storage.list("ab") == ["keep"]


@pytest.mark.faults
def test_a_killed_user_of_a_directory_holds_it_no_longer(storage: LocalStorage) -> None:
    with child_in(storage.hold("a")) as child:
        assert storage.held("a")
        kill(child)
        assert not storage.held("a")


def test_a_lock_that_is_free_is_taken_without_a_word(storage: LocalStorage, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with storage.lock("a"):
            owner = (storage.root / "a" / "lock").read_text()
    assert owner.startswith(f"process {os.getpid()} of ") and (storage.root / "a" / "lock").read_text() == ""
    assert capsys.readouterr().err == ""


def test_a_lock_that_is_given_back_is_taken_at_once(storage: LocalStorage) -> None:
    taken = threading.Event()

    def take() -> None:
        with storage.lock("a"):
            taken.set()

    with storage.lock("a"):
        thread = threading.Thread(target=take)
        thread.start()
        assert not taken.wait(0.1)
    assert taken.wait(60)
    thread.join()


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
    for call in (lambda: storage.write_bytes("file", b"new"), lambda: storage.swap("file", b"old", b"new")):
        with pytest.raises(StorageError, match="No space left on device"):
            call()
        assert storage.read_bytes("file") == b"old" and set(os.listdir(storage.root)) <= {"file", "lock"}
