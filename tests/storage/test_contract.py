"""The promises of every storage: the same tests for a local directory and for a bucket."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rankcli.errors import StorageError
from rankcli.storage.base import Stat, Storage
from rankcli.storage.open import open_storage
from tests.storage.children import child_in, kill

CRC = 0xE3069283  # CRC32C of b"123456789", the check value of the catalogues
NAMES = ["../up", "a/../b", "..", "/abs", "", "a//b", "a/", "a\nb", ".hidden", "a\0", "gs://x", "a b", "\u202efdp", "ü"]


@pytest.fixture(params=["local", "gcs"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return open_storage(str(tmp_path / "root"))
    return open_storage(f"{request.getfixturevalue('gcs').uri}/some folder/ü")


def file_of(folder: Path, data: bytes) -> Path:
    path = folder / "to-be-stored"
    path.write_bytes(data)
    return path


def test_bytes_come_back_and_are_replaced(storage: Storage) -> None:
    for data in (b"one", b"three", b""):
        storage.write_bytes("ab/file.bin", data)
        assert storage.read_bytes("ab/file.bin") == data
        assert storage.size("ab/file.bin") == len(data)
    assert storage.list("ab") == ["file.bin"]


def test_what_is_missing_is_said_to_be(storage: Storage) -> None:
    assert storage.size("ab/file") is None and storage.stat("ab/file") is None
    assert storage.list() == [] == storage.list("ab")
    for read in (storage.read_bytes, storage.fetch):
        with pytest.raises(StorageError, match="No such file") as missing:
            read("ab/file")
        assert (
            missing.value.exit_code == 6
            and storage.uri in missing.value.where
            and missing.value.where[-7:] == "ab/file"
        )


def test_stat_tells_size_checksum_and_time(storage: Storage) -> None:
    before = time.time()
    storage.write_bytes("file", b"123456789")
    found = storage.stat("file")
    assert found is not None and found[:2] == Stat(9, CRC, 0.0)[:2]
    assert before - 2 <= found.modified <= time.time() + 2


def test_a_swap_needs_the_old_content(storage: Storage) -> None:
    assert not storage.swap("m", b"0", b"1") and storage.size("m") is None
    assert storage.swap("m", None, b"1") and storage.read_bytes("m") == b"1"
    assert not storage.swap("m", None, b"2") and not storage.swap("m", b"x", b"2") and storage.read_bytes("m") == b"1"
    assert storage.swap("m", b"1", b"2") and storage.read_bytes("m") == b"2"
    assert storage.swap("m", b"1", b"2") and storage.swap("m", None, b"2")  # what it holds already


def test_put_leaves_what_is_there_unless_told_to_replace_it(storage: Storage, tmp_path: Path) -> None:
    assert storage.put(file_of(tmp_path, b"first"), "a/shard")
    assert not storage.put(file_of(tmp_path, b"second"), "a/shard")
    assert storage.read_bytes("a/shard") == b"first"
    assert storage.put(file_of(tmp_path, b"third"), "a/shard", replace=True)
    assert storage.read_bytes("a/shard") == b"third" and storage.list("a") == ["shard"]


def test_put_of_what_is_there_already_is_done(storage: Storage, tmp_path: Path) -> None:
    for _ in range(2):
        assert storage.put(file_of(tmp_path, b"same"), "a/shard")
    assert not storage.put(file_of(tmp_path, b"sane"), "a/shard"), "as many bytes, and others"
    assert storage.read_bytes("a/shard") == b"same" and storage.list("a") == ["shard"]


def test_what_is_fetched_is_a_local_file_of_the_content(storage: Storage, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    storage.put(file_of(tmp_path, data), "a/shard")
    path = storage.fetch("a/shard")
    assert path.read_bytes() == data and path == storage.fetch("a/shard")
    storage.put(file_of(tmp_path, b"other"), "a/shard", replace=True)
    assert storage.fetch("a/shard").read_bytes() == b"other"


def test_one_level_is_listed_sorted_without_locks(storage: Storage) -> None:
    for name in ("b/2", "b/10", "b/1/deep/er", "a", "b/manifest.json"):
        storage.write_bytes(name, b"")
    storage.swap("c", None, b"")
    with storage.lock("b"), storage.hold("b"), storage.lock("b/1"):
        assert storage.list() == ["a", "b", "c"]
        assert storage.list("b") == ["1", "10", "2", "manifest.json"]
        assert storage.list("b/1") == ["deep"] and storage.list("b/1/deep/er") == []


def test_all_files_below_a_directory_are_named_without_locks(storage: Storage) -> None:
    for name in ("b/2", "b/10/deep/er", "bc/d", "a"):
        storage.write_bytes(name, b"")
    storage.swap("c", None, b"")
    with storage.lock("b"), storage.hold("b"), storage.lock("b/10"):
        assert list(storage.below()) == ["a", "b/10/deep/er", "b/2", "bc/d", "c"]
        assert list(storage.below("b")) == ["10/deep/er", "2"] and list(storage.below("b/10")) == ["deep/er"]
    assert list(storage.below("a")) == [] and list(storage.below("never")) == []


def test_delete_removes_files_and_directories_and_minds_nothing_missing(storage: Storage) -> None:
    for name in ("a/b/c", "a/b/d", "ab/c", "d"):
        storage.write_bytes(name, b"x")
    for name in ("a", "d", "never"):
        storage.delete(name)
    assert storage.list() == ["ab"] and storage.read_bytes("ab/c") == b"x"


@pytest.mark.parametrize("name", NAMES)
def test_names_cannot_lead_out_of_the_root(storage: Storage, tmp_path: Path, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: storage.write_bytes(name, b"x"),
        lambda: storage.read_bytes(name),
        lambda: storage.swap(name, None, b"x"),
        lambda: storage.put(tmp_path, name),
        lambda: storage.fetch(name),
        lambda: storage.stat(name),
        lambda: storage.delete(name),
    ]
    for call in calls + ([lambda: storage.list(name), lambda: storage.below(name)] if name else []):
        with pytest.raises(ValueError, match="is not a name in storage"):
            call()
    assert os.listdir(tmp_path) == []


def test_a_pickled_storage_is_the_same(storage: Storage) -> None:
    storage.write_bytes("file", b"1")
    copy = pickle.loads(pickle.dumps(storage))
    assert copy == storage and copy.uri == storage.uri and copy.read_bytes("file") == b"1"


@pytest.mark.parametrize("racers", [8, pytest.param(20, marks=pytest.mark.slow)])
def test_of_many_that_swap_at_once_one_wins(storage: Storage, racers: int) -> None:
    start = threading.Barrier(racers)

    def swap(mine: int) -> bool:
        start.wait()
        return storage.swap("manifest.json", None, b"%d" % mine)

    with ThreadPoolExecutor(racers) as pool:
        won = list(pool.map(swap, range(racers)))
    assert Counter(won) == {True: 1, False: racers - 1}
    assert storage.read_bytes("manifest.json") == b"%d" % won.index(True)


def test_a_lock_lets_one_thread_in_at_a_time(storage: Storage, heartbeat: float) -> None:
    inside: list[int] = []
    most = []

    def work(number: int) -> None:
        with storage.lock("a"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.05)
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert most == [1] * 4


def test_locks_of_different_names_are_different(storage: Storage) -> None:
    with storage.lock("a"), storage.lock("b"), storage.lock("a/b"):
        assert storage.list() in (["a", "b"], [])


@pytest.mark.faults
def test_a_living_process_keeps_its_lock_and_a_killed_one_loses_it(
    storage: Storage, heartbeat: float, capfd: pytest.CaptureFixture[str]
) -> None:
    def take() -> None:
        with storage.lock("a"):
            pass

    with child_in(storage.lock("a")) as child:
        waiting = threading.Thread(target=take, daemon=True)
        waiting.start()
        said = ""
        while f"waiting for process {child} of " not in said:
            waiting.join(0.05)
            said += capfd.readouterr().err
            assert waiting.is_alive(), said
        kill(child)
        waiting.join(60)
        assert not waiting.is_alive()


def test_a_directory_is_held_as_long_as_somebody_does(storage: Storage) -> None:
    assert not storage.held("a")
    with storage.hold("a"):
        with storage.hold("a"):
            assert storage.held("a") and not storage.held("b")
        assert storage.held("a")
    assert not storage.held("a")


def test_a_lock_that_somebody_has_is_held(storage: Storage) -> None:
    with storage.lock("a"):
        assert storage.held("a") and not storage.held("b")
    assert not storage.held("a")
