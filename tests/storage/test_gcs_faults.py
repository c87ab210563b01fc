"""Broken calls to a bucket: the result is the same, or an error that says what failed; nothing is written twice."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
import pytest

from rankcli.errors import StorageError
from rankcli.storage import _gcs_upload, _retry
from rankcli.storage.base import Storage
from rankcli.storage.gcs import GcsStorage
from rankcli.storage.open import open_storage
from tests.gcs.fixtures import Bucket
from tests.gcs.proxy import KINDS

pytestmark = pytest.mark.faults
CALLS = 30  # of the sequence without faults
LARGE = bytes(range(256)) * 4096  # 1 MiB
Result = list[tuple[str, Any]]


@pytest.fixture(autouse=True)
def _small_pieces(quick: _retry.Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gcs_upload, "ONE_REQUEST", 600_000)
    monkeypatch.setattr(_gcs_upload, "PIECE", 512 << 10)


def sequence(storage: Storage, folder: Path) -> Result:
    """Every operation once or more, as (what, what came of it)."""
    small, large = folder / "small", folder / "large"
    small.write_bytes(b"small")
    large.write_bytes(LARGE)
    done: Result = [
        ("put", storage.put(small, "a/small")),
        ("put in pieces", storage.put(large, "a/large")),
        ("put again", storage.put(large, "a/small")),
        ("replace", storage.put(large, "a/small", replace=True)),
        ("swap", storage.swap("a/m", None, b"1")),
        ("swap again", storage.swap("a/m", b"1", b"2")),
        ("stat", storage.stat("a/large")[:2]),  # type: ignore[index]
        ("fetch", storage.fetch("a/large").read_bytes() == LARGE),
        ("read", storage.read_bytes("a/m")),
    ]
    with storage.lock("a"):
        done.append(("list", storage.list("a")))
    storage.delete("a/large")
    done.append(("size", storage.size("a/large")))
    return done


EXPECTED: Result = [
    ("put", True),
    ("put in pieces", True),
    ("put again", False),
    ("replace", True),
    ("swap", True),
    ("swap again", True),
    ("stat", (1 << 20, 0x7D25B26D)),
    ("fetch", True),
    ("read", b"2"),
    ("list", ["large", "m", "small"]),
    ("size", None),
]
GENERATIONS = {"a/small": 2, "a/large": 1, "a/m": 2, "a/lock": 1}


def written(gcs: Bucket) -> dict[str, int]:
    """The number of writes of each object."""
    prefix = gcs.uri.removeprefix("gs://") + "/"
    return dict(Counter(name.removeprefix(prefix) for name in gcs.proxy.rules.written))


def test_without_faults_every_call_is_made_once(gcs: Bucket, tmp_path: Path) -> None:
    assert sequence(open_storage(gcs.uri), tmp_path) == EXPECTED
    assert written(gcs) == GENERATIONS
    assert len(gcs.proxy.calls) == CALLS


class Happened(NamedTuple):
    """The outcome of the sequence, its faults, the writes of each object, and the number of calls."""

    result: Result
    injected: list[str]
    written: dict[str, int]
    calls: int


def broken_at(gcs: Bucket, folder: Path, kind: str, call: int) -> Happened:
    """The sequence with one call broken, and the objects deleted after it."""
    gcs.proxy.reset()
    gcs.proxy.fail_calls([call], kind)
    storage = GcsStorage(gcs.uri)
    result = sequence(storage, folder)
    happened = Happened(result, list(gcs.proxy.injected), written(gcs), len(gcs.proxy.calls))
    storage.delete("a")
    return happened


@pytest.mark.parametrize("kind", KINDS)
def test_one_broken_call_changes_nothing(gcs: Bucket, tmp_path: Path, kind: str) -> None:
    for call in range(KINDS.index(kind) % 8, CALLS, 8 if kind != "stall" else 20):
        happened = broken_at(gcs, tmp_path, kind, call)
        assert happened[:3] == (EXPECTED, [kind], GENERATIONS), call
        assert happened.calls <= CALLS + 4, call


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_any_one_broken_call_changes_nothing(gcs: Bucket, tmp_path: Path, kind: str) -> None:
    for call in range(CALLS):
        happened = broken_at(gcs, tmp_path, kind, call)
        assert happened[:3] == (EXPECTED, [kind], GENERATIONS), call
        assert happened.calls <= CALLS + 4, call


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_a_quarter_of_all_calls_broken_changes_nothing(gcs: Bucket, tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    for call in range(20 * CALLS):
        if draw.random() < 0.25:
            gcs.proxy.fail_calls([call], draw.choice([kind for kind in KINDS if kind != "stall"]))
    assert sequence(open_storage(gcs.uri), tmp_path) == EXPECTED
    assert written(gcs) == GENERATIONS and len(gcs.proxy.injected) > 5


def operations(storage: Storage, folder: Path) -> dict[str, Callable[[], object]]:
    """Operations whose first request is of different kinds, and the method of that request."""
    file = folder / "file"
    file.write_bytes(b"x")
    return {
        "POST put": lambda: storage.put(file, "b/new"),
        "GET stat": lambda: storage.stat("a/m"),
        "GET swap": lambda: storage.swap("a/m", b"1", b"2"),
        "GET fetch": lambda: storage.fetch("a/m"),
        "GET list": lambda: storage.list("a"),
        "GET delete": lambda: storage.delete("a"),
        "GET lock": lambda: storage.lock("a").__enter__(),
        "POST hold": lambda: storage.hold("a").__enter__(),
    }


@pytest.mark.parametrize("kind", ["503", *(pytest.param(k, marks=pytest.mark.slow) for k in KINDS[1:])])
def test_what_stays_broken_is_given_up_after_six_attempts(gcs: Bucket, tmp_path: Path, kind: str) -> None:
    storage = open_storage(gcs.uri)
    storage.write_bytes("a/m", b"1")
    for name, call in operations(storage, tmp_path).items():
        if kind in ("partial", "apply-then-reset", "truncate", "corrupt") and (
            name[:4] == "POST" or name == "GET lock"
        ):
            continue  # the first attempt is carried out, and the second one sees that; or the content is at fault
        gcs.proxy.reset()
        gcs.proxy.stall_s = 0.6
        gcs.proxy.fail_next(1000, kind)
        with pytest.raises(StorageError, match="failed, after [1-6] attempts?: ") as failed:
            call()
        assert 5 <= len(gcs.proxy.calls) <= 6 and gcs.proxy.injected == [kind] * len(gcs.proxy.calls), name
        assert failed.value.where.startswith(gcs.uri) and f"after {len(gcs.proxy.calls)} attempts" in failed.value.what
        assert gcs.proxy.calls[0].startswith(name.partition(" ")[0])
    gcs.proxy.reset()
    assert storage.read_bytes("a/m") == b"1" and storage.list() == ["a"]


def test_content_that_always_arrives_changed_is_not_stored(gcs: Bucket) -> None:
    gcs.proxy.fail_next(1000, "corrupt")
    with pytest.raises(StorageError, match="an upload failed, after 6 attempts: 400"):
        open_storage(gcs.uri).swap("m", None, b"1")
    gcs.proxy.reset()
    assert open_storage(gcs.uri).list() == []


def test_a_service_that_stores_changed_content_is_noticed_and_the_content_replaced(
    gcs: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gcs.proxy.rules, "_refused", lambda call: None)  # it does not look at the checksum
    (tmp_path / "file").write_bytes(b"right")
    gcs.proxy.fail_next(2, "corrupt")
    assert open_storage(gcs.uri).put(tmp_path / "file", "file")
    assert open_storage(gcs.uri).read_bytes("file") == b"right"
    assert written(gcs) == {"file": 3}


def test_a_download_that_broke_off_is_gone_on_with(gcs: Bucket, tmp_path: Path) -> None:
    storage = open_storage(gcs.uri)
    storage.write_bytes("large", LARGE)
    gcs.proxy.reset()
    gcs.proxy.fail_calls([1, 2], "truncate")
    assert storage.fetch("large").read_bytes() == LARGE
    _, whole, rest, end = gcs.proxy.sent
    assert whole == 1 << 20 > rest > end > 0  # what the reset of a connection throws away differs


@pytest.mark.parametrize(
    ("kind", "calls"),
    [("partial", (3,)), ("apply-then-reset", (11,)), ("corrupt", (5,))]
    + [pytest.param(kind, range(12), marks=pytest.mark.slow) for kind in KINDS],
)
def test_an_upload_interrupted_anywhere_is_one_object(
    gcs: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, calls: Iterable[int]
) -> None:
    monkeypatch.setattr(_gcs_upload, "ONE_REQUEST", 8 << 20)
    monkeypatch.setattr(_gcs_upload, "PIECE", 1 << 20)
    data = random.Random(3).randbytes((10 << 20) + 1)
    (tmp_path / "file").write_bytes(data)
    for call in calls:
        gcs.proxy.reset()
        gcs.proxy.fail_calls([call], kind)
        assert open_storage(gcs.uri).put(tmp_path / "file", f"object-{call}")
        assert gcs.proxy.injected == [kind] and written(gcs) == {f"object-{call}": 1}
        stat = open_storage(gcs.uri).stat(f"object-{call}")
        assert stat is not None and stat[:2] == (len(data), google_crc32c.value(data))
        again = 12 if kind == "corrupt" and call else 2  # content is compared when all of it has arrived
        assert len(gcs.proxy.calls) <= 12 + again + 1 + 2  # the stat, and what is too slow on a busy machine


def test_an_upload_interrupted_ten_times_is_one_object(
    gcs: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_gcs_upload, "PIECE", 1 << 20)
    data = random.Random(4).randbytes(15 << 20)  # three calls, one of them broken, are 1.5 MiB
    (tmp_path / "file").write_bytes(data)
    gcs.proxy.fail_calls(range(1, 40, 3), "partial")
    assert open_storage(gcs.uri).put(tmp_path / "file", "object")
    assert gcs.proxy.injected == ["partial"] * 10 and written(gcs) == {"object": 1}
    assert open_storage(gcs.uri).fetch("object").read_bytes() == data
