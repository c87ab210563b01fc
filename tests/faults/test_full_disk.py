"""Disks that are full at some point: the command says so, nothing that was there is lost, and it goes on later."""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.project import Project, contents, counts

pytestmark = pytest.mark.faults
SAID = re.compile(r"(?m)^error: (?P<path>/\S+): [^:\n]+: ([\d,]+ bytes were to be written, )?[\d,]+ bytes are free$")
TRAINING = ("trainer.niters=4", "trainer.itersize=10")


def largest_file(size: int) -> Callable[[], None]:
    """A function after whose call the process writes no file larger than `size` bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def limit(process: subprocess.Popen[str], size: int) -> None:
    """From now on the processes of a group write no file larger than `size` bytes."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(entry.name)) == process.pid:
                resource.prlimit(int(entry.name), resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        except ProcessLookupError:
            continue


def refused(returncode: int, stderr: str, cache: Path) -> bool:
    """Exit code 6, and a message that says where, how many bytes were to be written, and how many are free."""
    said = SAID.search(stderr)
    named = said is not None and Path(said["path"]).is_relative_to(cache)
    return returncode == 6 and named and "Traceback" not in stderr


def forget(project: Project) -> None:
    """Leave of a cache what was read of the collection."""
    for folder in (project.records, project.cache / "work"):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def read(project: Project, whole: Project) -> Project:
    """A cache in which collection and first stage are ready."""
    shutil.copytree(whole.cache, project.cache)
    forget(project)
    return project


@counts("tries", small=[1], full=[20])
def test_no_file_can_be_larger_than_some_size(read: Project, whole: Project, tries: int) -> None:
    """The files that samples and tokens are kept in until shards are made of them are among the largest."""
    draw = random.Random(6)
    for _ in range(tries):
        done = read.run("convert", "--split", "train", before=largest_file(draw.randrange(64, 10_000)))
        assert refused(done.returncode, done.stderr, read.cache), done.stderr
        assert not any(name.endswith("manifest.json") for name in read.tree())
    assert read.run("convert", "--split", "train").returncode == 0
    assert read.tree() == whole.tree() and read.names() == whole.names()


@counts("tries", small=[1], full=[30])
def test_the_disk_is_full_when_shards_are_written_or_published(read: Project, whole: Project, tries: int) -> None:
    """From the first shard on; the manifest is larger than all shards, so that some limits stop only that."""
    draw, failed = random.Random(7), 0
    while failed < tries:
        forget(read)
        process = read.start("convert", "--split", "train", environment={"PROCESSES": "2"})
        while process.poll() is None and not any(read.records.glob("*/1/parts/*.json")):
            time.sleep(0.001)
        limit(process, draw.randrange(64, 9000))
        _, stderr = process.communicate()
        if process.returncode == 0:  # it was done before the limit came
            continue
        failed += 1
        assert refused(process.returncode, stderr, read.cache), stderr
        assert read.run("convert", "--split", "train").returncode == 0
        assert read.tree() == whole.tree() and read.names() == whole.names()


@counts("tries", small=[1], full=[10])
def test_a_cache_that_is_extended_stays_as_it_is_when_the_disk_is_full(read: Project, tries: int) -> None:
    draw = random.Random(8)
    assert read.run("convert", "--split", "train", "trainer.itersize=100").returncode == 0
    short = read.tree()
    for _ in range(tries):
        done = read.run("convert", "--split", "train", before=largest_file(draw.randrange(64, 10_000)))
        assert refused(done.returncode, done.stderr, read.cache), done.stderr
        assert {name: content for name, content in read.tree().items() if name in short} == short
    assert read.run("convert", "--split", "train").returncode == 0
    extended = read.tree()
    assert {name for name in short if extended[name] != short[name]} == {
        name for name in short if name.endswith(("manifest.json", "source.yaml"))
    }


def test_results_that_cannot_be_written_to_stdout(read: Project) -> None:
    done = read.run("convert", "--split", "train", prefix=("sh", "-c", 'exec "$@" > /dev/full', "sh"))
    assert done.returncode == 6 and "error: stdout: No space left on device" in done.stderr


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
def test_a_small_disk_that_grows(disk: Path, whole: Project) -> None:
    """It is full at every 16 KiB that a conversion needs, from the collection on; then it is as if it had not been."""
    project, size, full = Project(whole.folder, disk / "cache"), 64, 0
    while (done := project.run("convert", "--split", "train")).returncode:
        assert done.returncode == 6 and str(disk) in done.stderr and "Traceback" not in done.stderr, done.stderr
        full, size = full + 1, size + 16
        subprocess.run(["mount", "-o", f"remount,size={size}k", disk], check=True)
    assert full > 20 and project.tree() == whole.tree() and project.names() == whole.names()


@pytest.mark.slow
def test_a_training_goes_on_when_there_is_space_again(read: Project, tmp_path: Path) -> None:
    """The disk is full from some moment of the second iteration on; the checkpoint of the first is kept."""
    draw = random.Random(9)
    done = read.run("train", "--out", str(tmp_path / "whole"), *TRAINING)
    assert done.returncode == 0, done.stderr
    wanted = results(tmp_path / "whole")
    largest = max(map(len, contents(tmp_path / "whole").values()))
    for n in range(10):
        out = tmp_path / str(n)
        process = read.start("train", "--out", str(out), *TRAINING)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("iteration 1:"):
                break
        while not (out / "checkpoints" / "iter-00001").exists():  # a thread writes it
            assert process.poll() is None
        checkpoint = contents(out / "checkpoints" / "iter-00001")
        limit(process, draw.randrange(largest))
        _, stderr = process.communicate()
        assert process.returncode == 6 and str(out) in stderr and "Traceback" not in stderr, stderr
        assert contents(out / "checkpoints" / "iter-00001") == checkpoint != {}
        done = read.run("train", "--out", str(out), *TRAINING)
        assert done.returncode == 0, done.stderr
        assert results(out) == wanted


def results(out: Path) -> dict[str, bytes]:
    """The weights, runs and numbers of a training, but for the times."""
    return {
        name: content for name, content in contents(out).items() if name.endswith((".run", ".safetensors", ".index"))
    }
