"""Worker processes: none of them outlives or holds up an interrupted work."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from rankcli.records import workers as module
from rankcli.records.workers import workers


def pid(state: None, task: int) -> int:
    return os.getpid()


def mark(folder: Path, task: int) -> None:
    (folder / f"begun-{task}").touch()
    (folder / f"done-{task}").touch()


def alive(found: int) -> bool:
    return any(process.pid == found for process in multiprocessing.active_children())


def test_workers_end_with_the_work() -> None:
    with workers(None, 2) as pool:
        pids = set(pool.map(pid, range(8)))
    assert pids and os.getpid() not in pids and not any(map(alive, pids))


def test_an_interrupted_work_kills_a_worker_that_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.3)
    before = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt), workers(None, 2) as pool:
        (found,) = set(pool.map(pid, [0]))
        os.kill(found, signal.SIGSTOP)
        assert alive(found)
        raise KeyboardInterrupt
    assert set(multiprocessing.active_children()) <= before


def test_an_interrupted_work_lets_workers_end_their_tasks(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), workers(tmp_path, 2) as pool:
        for _ in pool.map(mark, range(50)):
            raise KeyboardInterrupt
    begun, done = (len(list(tmp_path.glob(f"{name}-*"))) for name in ("begun", "done"))
    assert begun == done > 0
