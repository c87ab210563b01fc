"""Kept vectors: found by content, extended, verified, made by one process at a time, killed at any moment."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankcli.caches.vectors import vector_entries, verify_vectors
from rankcli.errors import DamageError, StorageError
from rankcli.records import vector_cache
from rankcli.records.vector_cache import VectorCache, opened
from rankcli.records.vector_sets import NAME, VectorManifest, keys_of, why_missed
from rankcli.shapes import TokenSequence
from rankcli.storage.base import Storage
from rankcli.storage.local import LocalStorage
from rankcli.storage.open import open_storage

IDENTITY = {"weights": "aaaa", "tokenizer": "t", "length": 8, "dtype": "float32"}
WIDTH = 6


def sequence(*ids: int) -> TokenSequence:
    """A text as an encoder reads it."""
    return TokenSequence(*(np.array(part, np.int32) for part in (ids, [0] * len(ids), [2] * len(ids))))


def texts(count: int, first: int = 0) -> list[TokenSequence]:
    return [sequence(*range(n, n + n % 5 + 1)) for n in range(first, first + count)]


def vector_of(text: TokenSequence) -> np.ndarray:
    """The vector that the encoder of these tests makes of a text: a function of its tokens alone."""
    return np.random.default_rng(text.ids.tolist()).normal(size=WIDTH).astype(np.float32)


class Encoder:
    """Counts the texts that it encodes; `fail_after` some of them it is killed."""

    def __init__(self, fail_after: int = 10**9) -> None:
        self.seen: list[bytes] = []
        self.fail_after = fail_after

    def __call__(self, sequences: Sequence[TokenSequence]) -> Iterable[tuple[list[int], np.ndarray]]:
        for n in reversed(range(len(sequences))):
            if len(self.seen) >= self.fail_after:
                raise KeyboardInterrupt
            self.seen.append(sequences[n].ids.tobytes())
            yield [n], vector_of(sequences[n])[None]


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk: no power is cut here."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture(params=["disk", "gcs"])
def storage(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    if request.param == "gcs":
        return open_storage(f"{request.getfixturevalue('gcs').uri}/vectors")
    return LocalStorage(tmp_path / "vectors")


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStorage:
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(vector_cache, "SHARD_BYTES", 4 * WIDTH * 4)  # four texts
    return LocalStorage(tmp_path / "vectors")


def check(cache: VectorCache, wanted: Sequence[TokenSequence]) -> None:
    np.testing.assert_array_equal(cache.get(wanted), np.stack([vector_of(each) for each in wanted]))


def test_vectors_are_made_once_extended_and_shared(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_cache, "SHARD_BYTES", 4 * WIDTH * 4)
    first, second = Encoder(), Encoder()
    with opened(storage, IDENTITY) as cache:
        cache.fill([texts(6), texts(10)], first)
        check(cache, texts(10)[::-1])
        before = cache.manifest
    assert sorted(first.seen) == sorted(text.ids.tobytes() for text in texts(10)) and len(before.shards) == 3
    with opened(storage, IDENTITY, "disk") as cache:  # another run, with more texts
        advanced: list[int] = []
        cache.fill([texts(13)], second, advanced.append)
        check(cache, texts(13))
        assert cache.encoded == 3 and sum(advanced) == 13
        assert cache.manifest.shards[:3] == before.shards  # never written again
    assert len(second.seen) == 3
    with pytest.raises(StorageError, match="the vectors of 1 texts are not kept"):
        cache.get(texts(14))


def test_what_is_complete_is_read_without_a_lock_or_a_write(local: LocalStorage) -> None:
    with opened(local, IDENTITY) as cache:
        cache.fill([texts(5)], Encoder())
    files = {path: path.stat().st_mtime_ns for path in local.root.rglob("*") if path.is_file()}
    with local.lock(cache.set_id), opened(local, IDENTITY) as again:
        again.fill([texts(5), texts(2)], Encoder(fail_after=0))
        check(again, texts(5))
    assert {path: path.stat().st_mtime_ns for path in local.root.rglob("*") if path.is_file()}.keys() == files.keys()


@pytest.mark.parametrize("changed", [{"weights": "b" * 64}, {"length": 9}, {"tokenizer": "u"}, {"dtype": "float16"}])
def test_quaterion_07_changed_weights_length_tokenizer_or_type_miss_with_the_reason(
    changed: dict[str, Any], local: LocalStorage
) -> None:
    """Quaterion takes a file that is named after the encoder for its vectors, whatever made them."""
    with opened(local, IDENTITY) as cache:
        cache.fill([texts(3)], Encoder())
    encoder, wanted = Encoder(), {**IDENTITY, **changed}
    with opened(local, wanted) as other:
        assert not len(other)
        ((key, value),) = changed.items()
        said = f"the vectors of {cache.set_id} differ in {key} ({IDENTITY[key]}, wanted {str(value)[:8]}"
        assert why_missed(local, wanted).startswith(said)
        other.fill([texts(3)], encoder)
    assert len(encoder.seen) == 3 and why_missed(local, IDENTITY)


def test_quaterion_07_a_changed_text_misses(local: LocalStorage) -> None:
    with opened(local, IDENTITY) as cache:
        cache.fill([[sequence(1, 2, 3)]], Encoder())
        known = cache.known(keys_of([sequence(1, 2, 3), sequence(1, 2, 4), sequence(1, 2), sequence(3, 2, 1)]))
    assert known.tolist() == [True, False, False, False]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 12), max_size=12), max_size=6))
def test_quaterion_06_repeated_keys_in_any_order_never_give_another_texts_vector(windows: list[list[int]]) -> None:
    """In Quaterion a key that two workers see moves the vectors of all later ones."""
    storage = _Memory()
    cache = VectorCache(storage, IDENTITY)  # type: ignore[arg-type]
    everything = texts(13)
    encoder = Encoder()
    cache.fill([[everything[n] for n in window] for window in windows], encoder)
    wanted = [everything[n] for window in windows for n in window]
    if wanted:
        check(cache, wanted)
    assert len(encoder.seen) == len(set(encoder.seen)) == len({n for window in windows for n in window})


def test_quaterion_08_equal_numbers_of_other_texts_are_not_confused() -> None:
    """Quaterion hashes `str(index) + str(salt)`: 1 and "23" are 12 and "3". Here lengths are part of what is hashed."""
    keys = keys_of([sequence(1, 23), sequence(12, 3), sequence(1), sequence(23), sequence(1, 23)])
    assert len(set(keys.tolist())) == 4 and keys[0] == keys[4]
    parted = TokenSequence(sequence(1).ids, np.array([1], np.int32), np.array([2], np.int32))
    assert keys_of([parted])[0] != keys[2]


@pytest.mark.parametrize("spoiled", ["bit", "short", "gone"])
def test_a_flipped_bit_is_found_and_made_again(spoiled: str, local: LocalStorage, capsys: Any) -> None:
    with opened(local, IDENTITY) as cache:
        cache.fill([texts(10)], Encoder())
    path = local.root / cache.location / cache.manifest.shards[1].name
    data = bytearray(path.read_bytes())
    data[70] ^= 4
    path.unlink() if spoiled == "gone" else path.write_bytes(data if spoiled == "bit" else data[:-3])
    encoder = Encoder()
    with opened(local, IDENTITY) as again:
        assert "its 4 vectors are made again" in capsys.readouterr().err
        assert len(again) == 6
        again.fill([texts(10)], encoder)
        check(again, texts(10))
    assert len(encoder.seen) == 4
    with opened(local, IDENTITY) as after:
        assert len(after) == 10 and not capsys.readouterr().err
        names = {shard.name for shard in after.manifest.shards} | {NAME}
    assert {name for name in local.list(after.location)} == names


def test_a_damaged_manifest_is_said_and_everything_made_again(local: LocalStorage, capsys: Any) -> None:
    with opened(local, IDENTITY) as cache:
        cache.fill([texts(5)], Encoder())
    path = local.root / cache.location / NAME
    path.write_bytes(path.read_bytes().replace(b'"texts": 4', b'"texts": 5'))
    encoder = Encoder()
    with opened(local, IDENTITY) as again:
        assert "unusable manifest: its checksum does not match; the vectors are made again" in capsys.readouterr().err
        again.fill([texts(5)], encoder)
        check(again, texts(5))
    assert len(encoder.seen) == 5


def test_stopped_after_any_text_it_goes_on(local: LocalStorage) -> None:
    """An interrupt keeps what is encoded; nothing is encoded twice."""
    whole = 0
    for stop in (0, 1, 3, 4, 2):
        encoder = Encoder(fail_after=stop)
        with pytest.raises(KeyboardInterrupt), opened(local, IDENTITY) as cache:
            cache.fill([texts(20)], encoder)
        whole += stop
        with opened(local, IDENTITY) as cache:
            assert len(cache) == whole
    last = Encoder()
    with opened(local, IDENTITY) as cache:
        cache.fill([texts(20)], last)
        check(cache, texts(20))
    assert len(last.seen) == 20 - whole


def test_two_processes_at_once_make_each_vector_once(local: LocalStorage, capfd: Any) -> None:
    """One waits for the other, and takes what it made: no write is lost."""
    started, encoders = threading.Barrier(2), [Encoder(), Encoder()]

    def work(n: int) -> None:
        cache = VectorCache(local, IDENTITY)
        started.wait()
        cache.fill([texts(12, first=6 * n)], encoders[n])
        check(cache, texts(12, first=6 * n))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with opened(local, IDENTITY) as cache:
        check(cache, texts(18))
    assert sum(len(encoder.seen) for encoder in encoders) == 18


def _filling(root: Path, first: int, started: Any) -> None:
    """Fill the set with texts from `first` on, slowly, as soon as the other process is there, too."""
    import os
    import time

    def slow(sequences: Sequence[TokenSequence]) -> Iterable[tuple[list[int], np.ndarray]]:
        for made in encoder(sequences):
            time.sleep(0.005)
            yield made

    vector_cache.SHARD_BYTES = 4 * WIDTH * 4
    encoder, cache = Encoder(), VectorCache(LocalStorage(root), IDENTITY)
    try:
        started.wait(30)
        cache.fill([texts(30, first)], slow)
        check(cache, texts(30, first))
        os._exit(len(encoder.seen))
    finally:
        os._exit(99)  # not the end that pytest gives to a process


def test_two_real_processes_that_fill_at_once_end_well_and_the_set_verifies(local: LocalStorage, capfd: Any) -> None:
    """One waits for the lock of the other, and takes what that has made of the texts that both want."""
    fork = multiprocessing.get_context("fork")
    started = fork.Barrier(2)
    both = [fork.Process(target=_filling, args=(local.root, first, started)) for first in (0, 10)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    made = [process.exitcode or 0 for process in both]
    assert min(made) == 10 and sum(made) == 40, capfd.readouterr().err
    entries = vector_entries(local)
    assert [entry.state for entry in entries] == ["complete"] and verify_vectors(entries, repair=False) == []
    with opened(local, IDENTITY) as cache:
        check(cache, texts(40))
        assert len(cache) == cache.manifest.texts == 40
        assert set(local.list(cache.location)) == {shard.name for shard in cache.manifest.shards} | {NAME}


def _killed_at(root: Path, change: int) -> None:
    """Fill the set, and die before a change of the file system."""
    import os

    left = [change]

    def dying(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                os._exit(9)
            left[0] -= 1
            return function(*args, **kwargs)

        return call

    for name in ("replace", "rename", "link", "unlink", "mkdir"):
        setattr(os, name, dying(getattr(os, name)))
    vector_cache.SHARD_BYTES = 4 * WIDTH * 4
    cache = VectorCache(LocalStorage(root), IDENTITY)
    cache.fill([texts(9)], Encoder())
    os._exit(0)


def test_killed_before_any_change_of_the_disk_it_goes_on(local: LocalStorage) -> None:
    change, code = 0, 9  # every second of them, to save time
    fork = multiprocessing.get_context("fork")
    while code == 9:
        root = local.root / str(change)
        process = fork.Process(target=_killed_at, args=(root, change))
        process.start()
        process.join()
        code, change = process.exitcode or 0, change + 2
        storage = LocalStorage(root)
        with opened(storage, IDENTITY) as cache:
            cache.fill([texts(9)], Encoder())
            check(cache, texts(9))
        names = {shard.name for shard in cache.manifest.shards} | {NAME}
        assert set(storage.list(cache.location)) == names
    assert code == 0 and change > 6


def test_float16_halves_the_bytes_and_errs_by_its_rounding(local: LocalStorage) -> None:
    with opened(local, {**IDENTITY, "dtype": "float16"}) as cache:
        cache.fill([texts(10)], Encoder())
        wanted = np.stack([vector_of(text) for text in texts(10)])
        np.testing.assert_array_equal(cache.get(texts(10)), wanted.astype(np.float16).astype(np.float32))
        np.testing.assert_allclose(cache.get(texts(10)), wanted, rtol=2.0**-11, atol=2.0**-25)
        assert cache.manifest.total_bytes == 10 * (16 + 2 * WIDTH)


@pytest.mark.parametrize(
    ("number", "what"), [(1e6, "numbers beyond 65504"), (np.nan, "NaN or infinity"), (np.inf, "NaN or infinity")]
)
def test_numbers_that_cannot_be_kept_are_an_error(number: float, what: str, local: LocalStorage) -> None:
    with opened(local, {**IDENTITY, "dtype": "float16"}) as cache, pytest.raises(StorageError, match=what):
        cache.fill([texts(1)], lambda sequences: [([0], np.full((1, WIDTH), number, np.float32))])
    assert not local.list(cache.location)


def test_a_manifest_comes_back_as_it_was_and_another_version_is_refused(local: LocalStorage) -> None:
    with opened(local, IDENTITY) as cache:
        cache.fill([texts(5)], Encoder())
    again = VectorManifest.parse(cache.manifest.dump(), "here")
    assert again == cache.manifest and again.texts == 5
    with pytest.raises(DamageError, match="unusable manifest"):
        VectorManifest.parse(cache.manifest.dump()[:-9], "here")


def test_auto_reads_into_memory_what_fits(local: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(local, IDENTITY) as cache:
        cache.fill([texts(5)], Encoder())
        assert cache.in_memory
        monkeypatch.setattr(vector_cache, "IN_MEMORY", 10)
        assert not cache.in_memory


class _Memory:
    """A storage in a dict, for properties."""

    uri = "memory"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def read_bytes(self, name: str) -> bytes:
        return self.files[name]

    def size(self, name: str) -> int | None:
        return len(self.files[name]) if name in self.files else None

    def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        assert self.files.get(name) == old
        self.files[name] = new
        return True

    def put(self, path: Path, name: str, *, replace: bool) -> bool:
        self.files[name] = path.read_bytes()
        return True

    def fetch(self, name: str) -> Path:
        import tempfile

        with tempfile.NamedTemporaryFile(delete=False) as file:
            file.write(self.files[name])
        return Path(file.name)

    def list(self, name: str) -> list[str]:
        return [entry.rpartition("/")[2] for entry in self.files]

    def lock(self, name: str) -> Any:
        return threading.Lock()
