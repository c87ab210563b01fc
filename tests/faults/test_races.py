"""Several processes that want the same cache at once: one makes it, however it ends, and the others take it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from rankcli.records.lookup import find
from rankcli.storage.local import LocalStorage
from tests.faults.forked import convert_noting, convert_slowly, convert_small, exit_code, started
from tests.faults.project import Project, contents, counts

pytestmark = pytest.mark.faults


@counts("times", small=[2], full=[50])
def test_of_eight_processes_one_converts(tmp_path: Path, times: int) -> None:
    assert exit_code(convert_small, tmp_path / "whole") == 0
    for n in range(times):
        root, notes = tmp_path / str(n), tmp_path / f"notes-{n}"
        notes.mkdir()
        processes = [started(convert_noting, root, notes) for _ in range(8)]
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * 8
        assert contents(root) == contents(tmp_path / "whole")
        (writer,) = (note for note in notes.iterdir() if note.suffix == ".wrote")
        found = {note.read_bytes() for note in notes.glob("*.found")}
        assert len(list(notes.glob("*.found"))) == 8 and len(found) == 1, writer


@counts("times", small=[1], full=[50])
def test_of_eight_commands_one_converts(project: Project, whole: Project, tmp_path: Path, times: int) -> None:
    for n in range(times):
        project = Project(project.folder, tmp_path / f"cache-{n}")
        processes = [project.start("convert", "--split", "train", "--json") for _ in range(8)]
        said = [process.communicate() for process in processes]
        assert [process.returncode for process in processes] == [0] * 8, said
        assert len({stdout for stdout, _ in said}) == 1
        assert sum(stderr.count(" converts\n") for _, stderr in said) == 1
        assert project.tree() == whole.tree() and project.names() == whole.names()


def wait_for(path: Path) -> None:
    """Wait until a file is there, for at most two minutes."""
    end = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not appear"
        time.sleep(0.005)


@pytest.mark.parametrize("days", [-1, 0, 1])
def test_a_killed_writers_lock_is_taken_over_at_once_and_a_living_ones_never(tmp_path: Path, days: int) -> None:
    """Whatever the clock says that the lock's age is."""
    root, begun = tmp_path / "root", tmp_path / "begun"
    writer = started(convert_slowly, root, begun)
    wait_for(begun)
    lock = root / "c0ffee/lock"
    assert lock.read_text().startswith(f"process {writer.pid} of ")
    os.utime(lock, (time.time() + days * 86400,) * 2)
    other = started(convert_small, root)
    other.join(0.5)
    assert other.exitcode is None and not (root / "c0ffee/1/manifest.json").exists()
    assert LocalStorage(root).held("c0ffee") and lock.read_text().startswith(f"process {writer.pid} of ")
    os.kill(writer.pid, signal.SIGKILL)
    other.join(120)
    assert other.exitcode == 0
    assert exit_code(convert_small, tmp_path / "whole") == 0
    assert contents(root) == contents(tmp_path / "whole")
    assert find(LocalStorage(root), "c0ffee", 19) is not None and not LocalStorage(root).held("c0ffee")
    writer.join()
