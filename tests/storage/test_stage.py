"""Local copies: verified, downloaded once, bounded, and never taken from under a process that uses them."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import pytest

from rankcli.errors import StorageError
from rankcli.storage import stage
from rankcli.storage.open import open_storage
from rankcli.storage.stage import Stage
from tests.gcs.fixtures import Bucket
from tests.storage.children import child_in, kill


@pytest.fixture(autouse=True)
def _little_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_kept", stage._Kept())
    monkeypatch.setattr(stage, "LAST", 1)


class Source:
    """Objects of 1000 bytes; counts downloads."""

    def __init__(self) -> None:
        self.downloads: list[str] = []

    def get(self, place: Stage, key: str, *, fixed: bool = False, wait_s: float = 0.0) -> Path:
        data = content(key)

        def download(file: BinaryIO) -> None:
            self.downloads.append(key)
            time.sleep(wait_s)
            file.write(data)

        return place.get(key, len(data), google_crc32c.value(data), download, fixed=fixed)


def content(key: str) -> bytes:
    return key.encode() * (1000 // len(key))


def copies(root: Path) -> int:
    """Bytes in the stage."""
    return sum(path.stat().st_size for path in root.iterdir() if path.is_file())


def forget() -> None:
    """The end of the process: no copy is kept any more."""
    for descriptor in (*stage._kept.last.values(), *stage._kept.fixed.values()):
        os.close(descriptor)
    stage._kept.last.clear()
    stage._kept.fixed.clear()


def test_a_copy_is_downloaded_once(tmp_path: Path) -> None:
    source = Source()
    paths = [source.get(Stage(tmp_path / "stage"), key) for key in ("a", "b", "a", "a", "b")]
    assert source.downloads == ["a", "b"]
    assert paths[0] == paths[2] == paths[3] and paths[0].read_bytes() == content("a")
    assert len(paths[0].name) == 32 and paths[0].parent == tmp_path / "stage"


def test_the_copies_used_longest_ago_make_room(tmp_path: Path) -> None:
    source, place = Source(), Stage(tmp_path, limit=3000)
    paths = {key: source.get(place, key) for key in "abc"}
    for age, key in enumerate("cba"):  # a is the oldest
        os.utime(paths[key], ns=(10**18 - age, 10**18 - age))
    forget()
    source.get(place, "a")  # used again
    forget()
    source.get(place, "d")
    assert {key for key in "abcd" if (tmp_path / source_name(key)).exists()} == {"a", "c", "d"}
    assert copies(tmp_path) == 3000


def source_name(key: str) -> str:
    """The copy's name: the first half of the hexadecimal SHA-256 of its key."""
    import hashlib

    return hashlib.sha256(key.encode()).hexdigest()[:32]


def test_the_limit_holds_however_much_is_fetched(tmp_path: Path) -> None:
    source, place = Source(), Stage(tmp_path, limit=5000)
    for number in range(40):
        source.get(place, f"{number:04d}")
        assert copies(tmp_path) <= 5000
    assert copies(tmp_path) == 5000 and len(source.downloads) == 40


def test_what_another_process_uses_is_not_evicted(tmp_path: Path) -> None:
    source, place = Source(), Stage(tmp_path, limit=3000)

    @contextmanager
    def using():  # type: ignore[no-untyped-def]
        yield source.get(place, "used")

    with child_in(using()) as child:
        kept = tmp_path / source_name("used")
        os.utime(kept, ns=(1, 1))
        for key in "abcd":
            source.get(place, key)
        assert kept.read_bytes() == content("used") and copies(tmp_path) == 3000
        kill(child)
        source.get(place, "e")
        assert not kept.exists() and copies(tmp_path) == 3000


def test_a_copy_for_the_whole_process_stays_and_others_go(tmp_path: Path) -> None:
    source, place = Source(), Stage(tmp_path, limit=3000)
    fixed = source.get(place, "fixed", fixed=True)
    for number in range(100):
        source.get(place, f"{number:04d}")
    source.get(place, "fixed")
    assert fixed.exists() and source.downloads.count("fixed") == 1 and copies(tmp_path) == 3000


def test_few_descriptors_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()  # what other tests have open must not be closed meanwhile
    monkeypatch.setattr(stage, "LAST", 16)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(100):
        Source().get(Stage(tmp_path), f"{number:04d}")
    assert len(os.listdir("/proc/self/fd")) - before == 16
    forget()


def test_the_last_copies_stay_whatever_the_limit_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "LAST", 8)
    paths = [Source().get(Stage(tmp_path, limit=3000), f"{number:04d}") for number in range(20)]
    assert [path.exists() for path in paths] == [False] * 11 + [True] * 9  # eight, and the new one


def test_an_object_larger_than_the_limit_is_staged_alone(tmp_path: Path) -> None:
    source, place = Source(), Stage(tmp_path, limit=900)
    for key in "abc":
        assert source.get(place, key).read_bytes() == content(key)
        forget()
    assert copies(tmp_path) == 1000


@pytest.mark.faults
@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(b"short"), lambda path: path.write_bytes(content("b")), Path.unlink]
)
def test_a_damaged_copy_is_downloaded_again(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    source, place = Source(), Stage(tmp_path)
    path = source.get(place, "a")
    damage(path)
    assert source.get(place, "a").read_bytes() == content("a")
    assert source.downloads == ["a", "a"]


def test_a_download_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise StorageError("gone")

    with pytest.raises(StorageError, match="gone"):
        Stage(tmp_path).get("a", 1000, 0, fail)
    assert copies(tmp_path) == 0
    assert Source().get(Stage(tmp_path), "a").exists()


@pytest.mark.faults
def test_what_a_killed_download_left_is_removed_and_a_living_one_is_not(tmp_path: Path) -> None:
    def never(file: BinaryIO) -> None:
        file.write(b"half")
        time.sleep(60)

    @contextmanager
    def downloading():  # type: ignore[no-untyped-def]
        threading.Thread(target=lambda: Stage(tmp_path).get("a", 1000, 0, never), daemon=True).start()
        while not any(".tmp." in name for name in os.listdir(tmp_path)):
            time.sleep(0.01)
        yield

    with child_in(downloading()) as child:
        Source().get(Stage(tmp_path), "b")
        assert sum(".tmp." in name for name in os.listdir(tmp_path)) == 1
        kill(child)
        Source().get(Stage(tmp_path), "c")
        assert sum(".tmp." in name for name in os.listdir(tmp_path)) == 0
        assert Source().get(Stage(tmp_path), "a").read_bytes() == content("a")


def test_threads_that_want_the_same_copy_download_it_once(tmp_path: Path) -> None:
    source = Source()
    with ThreadPoolExecutor(16) as pool:
        paths = set(pool.map(lambda n: source.get(Stage(tmp_path), "ab"[n % 2], wait_s=0.1), range(32)))
    assert len(paths) == 2 and sorted(source.downloads) == ["a", "b"]


def test_processes_that_want_the_same_copy_download_it_once(tmp_path: Path) -> None:
    children = []
    for _ in range(6):
        if not (child := os.fork()):
            source = Source()
            source.get(Stage(tmp_path / "stage"), "a", wait_s=0.2)
            os._exit(len(source.downloads))
        children.append(child)
    assert sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children) == 1


@pytest.mark.faults
@pytest.mark.parametrize("rounds", [30, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_that_fetch_and_evict_at_once_always_read_what_they_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    monkeypatch.setattr(stage, "LAST", 4)  # as many as there are threads
    place = Stage(tmp_path, limit=30_000)

    def read(number: int) -> None:
        for step in range(rounds):
            key = f"{(number * 31 + step * 7) % 60:04d}"
            assert Source().get(place, key).read_bytes() == content(key)

    children = []
    for _ in range(2):
        if not (child := os.fork()):
            with ThreadPoolExecutor(4) as pool:
                failed = [future for future in [pool.submit(read, n) for n in range(4)] if future.exception()]
            os._exit(len(failed))
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    assert copies(tmp_path) <= 30_000


def test_a_copy_that_is_being_downloaded_counts_whole(tmp_path: Path) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow(file: BinaryIO) -> None:
        started.set()
        go_on.wait()
        file.write(content("slow"))

    Source().get(Stage(tmp_path), "a")
    forget()
    thread = threading.Thread(target=lambda: Stage(tmp_path, limit=2000).get("slow", 1000, 0, slow))
    thread.start()
    started.wait()
    Source().get(Stage(tmp_path, limit=2000), "b")
    go_on.set()
    thread.join()
    assert not (tmp_path / source_name("a")).exists() and copies(tmp_path) == 2000


def test_the_default_limit_leaves_most_of_the_disk_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"free": 8000}
    monkeypatch.setattr(stage.shutil, "disk_usage", lambda _: type("Usage", (), free))
    source = Source()
    for number in range(5):
        forget()
        source.get(Stage(tmp_path), f"{number:04d}")
        free["free"] = 8000 - copies(tmp_path)
    assert copies(tmp_path) == 2000
    monkeypatch.setattr(stage, "LIMIT_BYTES", 1000)
    forget()
    source.get(Stage(tmp_path), "last")
    assert copies(tmp_path) == 1000


def test_a_full_disk_is_a_storage_failure(tmp_path: Path) -> None:
    def full(file: BinaryIO) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left") as failed:
        Stage(tmp_path).get("a", 1000, 0, full)
    assert failed.value.exit_code == 6 and copies(tmp_path) == 0


def test_objects_are_staged_below_the_local_root_by_generation(gcs: Bucket, tmp_path: Path) -> None:
    storage = open_storage(gcs.uri)
    paths = []
    for data in (b"one", b"two"):
        storage.write_bytes("a/b", data)
        paths += [storage.fetch("a/b"), storage.fetch("a/b")]
        assert paths[-1].read_bytes() == data
    assert len(set(paths)) == 2 and {path.parent for path in paths} == {tmp_path / "cache" / "stage"}
    assert sum("/download/" in call for call in gcs.proxy.calls) == 2
    paths[-1].write_bytes(b"owt")
    assert storage.fetch("a/b").read_bytes() == b"two"
