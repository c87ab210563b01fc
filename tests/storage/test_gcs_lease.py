"""Locks in a bucket: a dead owner loses them within two heartbeats, a living one never, whatever the clocks say."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import pytest

from rankcli.storage import _gcs_lease, _retry
from rankcli.storage._gcs_objects import Bucket as Objects
from rankcli.storage._gcs_objects import content_of
from rankcli.storage.base import Storage
from rankcli.storage.open import open_storage
from tests.gcs.fixtures import Bucket
from tests.gcs.proxy import KINDS
from tests.storage.children import child_in, kill

DAY = 86_400.0
PATIENCE_S = 60.0


@pytest.fixture
def storage(gcs: Bucket, heartbeat: float) -> Storage:
    return open_storage(gcs.uri)


class Taker(threading.Thread):
    """Takes a lock when it can; `seconds` it took, and keeps it until `release`."""

    def __init__(self, lock: AbstractContextManager[None]) -> None:
        super().__init__(daemon=True)
        self.lock, self.seconds = lock, None
        self.done = threading.Event()
        self.start()

    def run(self) -> None:
        start = time.monotonic()
        with self.lock:
            self.seconds = time.monotonic() - start
            self.done.wait()

    def release(self) -> None:
        self.done.set()
        self.join()


def until(true: Callable[[], object]) -> bool:
    """Wait for something; whether it happened within a time that is long for the slowest machine."""
    start = time.monotonic()
    while not true():
        if time.monotonic() - start > PATIENCE_S:
            return False
        time.sleep(0.005)
    return True


@pytest.mark.faults
@pytest.mark.parametrize("jump", [-DAY, *(pytest.param(jump, marks=pytest.mark.slow) for jump in (0.0, DAY))])
def test_a_killed_owner_is_succeeded_whatever_the_clock_says(
    storage: Storage, heartbeat: float, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    with child_in(storage.lock("a")) as child:
        taker = Taker(storage.lock("a"))
        time.sleep(heartbeat)
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + jump)
        kill(child)
        assert until(lambda: taker.seconds)
        taker.release()


@pytest.mark.faults
@pytest.mark.parametrize(
    ("jump", "heartbeats"),
    [(DAY, 4), *(pytest.param(jump, 75, marks=pytest.mark.slow) for jump in (0.0, DAY, -DAY))],
)
def test_a_living_owner_is_never_robbed(
    storage: Storage, heartbeat: float, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], jump: float,
    heartbeats: int,
) -> None:  # fmt: skip
    with child_in(storage.lock("a")):
        takers = [Taker(storage.lock("a")) for _ in range(2)]
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + jump)
        time.sleep(heartbeats * heartbeat)
        assert [taker.seconds for taker in takers] == [None, None]
    assert until(lambda: any(taker.seconds for taker in takers))
    for taker in sorted(takers, key=lambda taker: taker.seconds is None):
        taker.release()
    assert "took" not in capfd.readouterr().err


def test_a_lock_that_is_given_back_is_taken_without_waiting_for_silence(
    storage: Storage, gcs: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_gcs_lease, "HEARTBEAT_S", 10 * PATIENCE_S)
    monkeypatch.setattr(_gcs_lease, "_LOOKS", 100 * PATIENCE_S)
    with storage.lock("a"):
        taker = Taker(storage.lock("a"))
        assert until(lambda: len(gcs.proxy.calls) > 4)
    assert until(lambda: taker.seconds)
    taker.release()
    assert Objects(gcs.uri[5:]).meta("a/lock") is None


@pytest.mark.faults
def test_an_owner_that_was_stopped_for_too_long_is_told(
    storage: Storage, heartbeat: float, capfd: pytest.CaptureFixture[str]
) -> None:
    with child_in(storage.lock("a")) as child:
        os.kill(child, signal.SIGSTOP)
        taker = Taker(storage.lock("a"))
        assert until(lambda: taker.seconds)
        os.kill(child, signal.SIGCONT)
        said: list[str] = []
        assert until(lambda: said.append(capfd.readouterr().err) or "another process took" in "".join(said))
        assert taker.seconds is not None and taker.is_alive()
        taker.release()


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["apply-then-reset", *(pytest.param(k, marks=pytest.mark.slow) for k in KINDS[:5])])
def test_a_heartbeat_that_fails_once_loses_nothing(
    storage: Storage, gcs: Bucket, heartbeat: float, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with storage.lock("a"):
        for times in (1, 2, 3):
            gcs.proxy.fail_next(1, kind)
            assert until(lambda: len(gcs.proxy.injected) == times)  # noqa: B023
            time.sleep(heartbeat)  # the next one succeeds
        assert gcs.proxy.injected == [kind] * 3
    assert "took" not in capfd.readouterr().err
    assert Objects(gcs.uri[5:]).meta("a/lock") is None


def test_a_lock_that_another_process_took_is_not_given_back_for_it(storage: Storage, gcs: Bucket) -> None:
    bucket = Objects(gcs.uri[5:])
    with storage.lock("a"):
        mine = bucket.meta("a/lock")
        assert mine is not None
        theirs = bucket.upload("a/lock", content_of(io.BytesIO(b"another process")), mine.generation)
    assert theirs is not None and bucket.meta("a/lock") == theirs


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["apply-then-reset", "503"])
def test_a_lock_whose_last_heartbeat_failed_is_given_back(
    storage: Storage, gcs: Bucket, monkeypatch: pytest.MonkeyPatch, quick: _retry.Policy, kind: str
) -> None:
    monkeypatch.setattr(_gcs_lease, "HEARTBEAT_S", 1.0)
    with storage.lock("a"):
        gcs.proxy.fail_next(1, kind)
        assert until(lambda: gcs.proxy.injected)
        time.sleep(0.05)
    assert Objects(gcs.uri[5:]).meta("a/lock") is None


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["503", "apply-then-reset", "truncate", "corrupt"])
def test_a_lock_whose_creation_breaks_is_taken_once(
    storage: Storage, gcs: Bucket, quick: _retry.Policy, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    gcs.proxy.fail_calls([1], kind)
    with storage.lock("a"):
        assert "waiting for" not in capfd.readouterr().err, "what it has written itself is not another's"
    assert gcs.proxy.injected == [kind]


def test_a_network_that_is_gone_at_the_end_is_warned_of_and_no_error(
    storage: Storage, gcs: Bucket, quick: _retry.Policy, capfd: pytest.CaptureFixture[str]
) -> None:
    with storage.lock("a"):
        gcs.proxy.fail_next(100, "reset")
    assert "a lock is not given back" in capfd.readouterr().err


def test_whoever_holds_a_directory_goes_on_saying_so(
    storage: Storage, gcs: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_gcs_lease, "HOLD_S", 0.1)
    monkeypatch.setattr(_gcs_lease, "HELD_S", 2.0)
    with storage.hold("a"):
        time.sleep(2.2)
        assert storage.held("a")
    assert not storage.held("a")


@pytest.mark.faults
@pytest.mark.parametrize("jump", [DAY, *(pytest.param(jump, marks=pytest.mark.slow) for jump in (0.0, -DAY))])
def test_a_hold_ends_some_time_after_its_owner_by_the_services_clock(
    storage: Storage, gcs: Bucket, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    monkeypatch.setattr(_gcs_lease, "HELD_S", PATIENCE_S)
    with child_in(storage.hold("a")) as child:
        kill(child)
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + jump)
        assert storage.held("a")
        monkeypatch.setattr(_gcs_lease, "HELD_S", 0.4)
        assert until(lambda: not storage.held("a"))
    assert [name.partition("-")[0] for name, _ in Objects(gcs.uri[5:]).below("")] == ["a/hold"]
    storage.delete("a")
    assert list(Objects(gcs.uri[5:]).below("")) == []


def test_threads_end_with_the_context(storage: Storage) -> None:
    before = threading.active_count()
    with ExitStack() as stack:
        for name in ("a", "b", "c"):
            stack.enter_context(storage.lock(name))
            stack.enter_context(storage.hold(name))
        assert threading.active_count() == before + 6
    assert threading.active_count() == before


def test_an_interpreter_that_ends_with_a_lock_does_not_hang(gcs: Bucket) -> None:
    script = (
        "from rankcli.storage import _gcs_lease\n"
        "from rankcli.storage.open import open_storage\n"
        "_gcs_lease.HEARTBEAT_S = 3600.0\n"
        f"kept = open_storage({gcs.uri!r}).lock('a'); kept.__enter__()\n"
        "raise SystemExit(7)"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=120, capture_output=True).returncode == 7
