"""Conversions that are killed at any moment and started again: the cache is that of an undisturbed conversion."""

from __future__ import annotations

import collections
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from rankcli.records.manifest import NAME
from rankcli.records.shards import is_complete, read_receipt
from rankcli.records.stripes import Range, ranges
from rankcli.storage.local import LocalStorage
from tests.faults.forked import convert_small, convert_unsynced, convert_until, exit_code, killed_in, started
from tests.faults.project import Project, contents, counts, kill

pytestmark = pytest.mark.faults
SMALL = ranges(0, 19, 2)
CLI = ranges(0, 800, 23)
CONVERT, TWO = ("convert", "--split", "train"), {"PROCESSES": "2"}
PHASES = ["work/*-*", "work/*-*/numbers", "records/*/1/parts/*.json", f"records/*/1/parts/{CLI[-1].name}.json"]

Inodes = dict[str, tuple[int, int]]


def receipted(root: Path, location: str, shards: Sequence[Range]) -> Inodes:
    """Inode and time of the shards that are complete by their receipts."""
    storage, found = LocalStorage(root), {}
    for shard in shards:
        receipt = read_receipt(storage, location, shard)
        if receipt is not None and is_complete(storage, location, receipt):
            entry = (root / location / shard.name).stat()
            found[shard.name] = (entry.st_ino, entry.st_mtime_ns)
    return found


def unchanged(before: Inodes, folder: Path) -> bool:
    entries = {name: (folder / name).stat() for name in before}
    return {name: (entry.st_ino, entry.st_mtime_ns) for name, entry in entries.items()} == before


def left(root: Path) -> list[Path]:
    """The files beside the small cache and locks."""
    wanted = {root / name for name in ("lock", "tmp.work", "c0ffee", "c0ffee/lock", "c0ffee/1")}
    return [path for path in root.rglob("*") if path not in wanted and path.parent != root / "c0ffee/1"]


@pytest.fixture(scope="module")
def small_tree(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("small")
    convert_small(root)
    return contents(root)


@counts("step", small=[5], full=[1])
def test_killed_before_any_change_of_the_file_system(tmp_path: Path, small_tree: dict[str, bytes], step: int) -> None:
    """Before every change in the full count: files opened to be written, renamed, linked and removed, directories."""
    change = code = 0
    while code != 0 or change == 0:
        root = tmp_path / str(change)
        root.mkdir()
        code = exit_code(convert_until, root, change)
        assert code in (0, -signal.SIGKILL)
        done = receipted(root, "c0ffee/1", SMALL)
        assert exit_code(convert_unsynced, root) == 0
        assert contents(root) == small_tree and left(root) == [], f"killed before change {change}"
        assert unchanged(done, root / "c0ffee/1")
        change += step
    assert change > 100


@pytest.mark.parametrize("kills", [20])
def test_killed_at_random_moments(tmp_path: Path, small_tree: dict[str, bytes], kills: int) -> None:
    """Processes are killed at moments that are uniform over the time that an undisturbed one takes."""
    draw, killed, round_number = random.Random(1), 0, 0
    begun = time.monotonic()
    assert exit_code(convert_small, tmp_path / "timed") == 0
    takes = time.monotonic() - begun
    while killed < kills:
        root, done = tmp_path / str(round_number), Inodes()
        process = started(convert_small, root)
        while killed_in(process, draw.uniform(0, takes)):
            killed += 1
            assert unchanged(done, root / "c0ffee/1")
            done = receipted(root, "c0ffee/1", SMALL)
            process = started(convert_small, root)
        assert process.exitcode == 0 and unchanged(done, root / "c0ffee/1")
        assert contents(root) == small_tree and left(root) == []
        round_number += 1


def phase(project: Project) -> str:
    """The work that the killed conversion was doing."""
    (work,) = (list((project.cache / "work").glob("*-*")) or [None])[:1]
    manifests = list(project.records.glob(f"*/1/{NAME}"))
    receipts = list(project.records.glob("*/1/parts/*.json"))
    if manifests:
        return "after publishing"
    if len(receipts) == len(CLI):
        return "publishing"
    if receipts or list(project.records.glob("*/1/shard-*")):
        return "shards"
    if work is not None:
        return "tokenising" if (work / "numbers").is_dir() else "sampling"
    return "reading the inputs"


def moment(project: Project, process: subprocess.Popen[str], draw: random.Random, takes: float) -> float:
    """Wait for the begin of a phase, or for nothing; how many seconds later the kill comes."""
    begun = draw.choice([pattern for pattern in PHASES if not any(project.cache.glob(pattern))] + [""])
    while begun and process.poll() is None and not any(project.cache.glob(begun)):
        time.sleep(0.0005)
    return draw.uniform(0, 0.05 if begun else takes)


def killed_within(process: subprocess.Popen[str], seconds: float) -> bool:
    """True if the process still ran after some seconds; it is killed then, with those that it has started."""
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        kill(process)
        return True


@counts("kills", small=[], full=[200])
def test_the_command_killed_at_random_moments(project: Project, whole: Project, tmp_path: Path, kills: int) -> None:
    """The command and its conversion processes, at moments uniform over the time that an undisturbed one takes, or
    soon after the begin of a phase.
    """
    draw, phases, rounds, killed = random.Random(2), collections.Counter[str](), 0, 0
    begun = time.monotonic()
    assert Project(project.folder, tmp_path / "timed").run(*CONVERT, environment=TWO).returncode == 0
    takes = time.monotonic() - begun
    while killed < kills:
        project = Project(project.folder, tmp_path / f"cache-{rounds}")
        done = Inodes()
        process = project.start(*CONVERT, environment=TWO)
        while killed_within(process, moment(project, process, draw, takes)):
            killed += 1
            phases[phase(project)] += 1
            for location in project.records.glob("*/1"):
                assert unchanged(done, location)
                done = receipted(project.records, str(location.relative_to(project.records)), CLI)
            process = project.start(*CONVERT, environment=TWO)
        assert process.returncode == 0, process.communicate()[1]
        assert unchanged(done, project.location)
        assert project.run(*CONVERT).returncode == 0
        assert project.tree() == whole.tree() and project.names() == whole.names()
        rounds += 1
    print(f"{killed} kills in {rounds} conversions of {takes:.1f} s: {dict(phases)}")
    assert len(phases) >= 5
