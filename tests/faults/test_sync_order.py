"""The files that a power cut would leave, from the system calls: nothing has its name before its content is on disk."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.project import Project, contents

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(shutil.which("strace") is None, reason="the system calls are seen with strace"),
]
MAKING = {"mkdir", "mkdirat"}
NAMING = {"rename", "renameat", "renameat2", "link", "linkat"}
WORK = {"numbers", "parts", "texts"}
WRITING = {"write", "pwrite64", "writev", "sendfile", "copy_file_range"}
SYNCING = {"fsync", "fdatasync"}
LINE = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\((?P<rest>.*)")
RESUMED = re.compile(r"(?P<pid>\d+) +<\.\.\. \w+ resumed>.*= 0$")


class Call(NamedTuple):
    """A system call that succeeded: the file of its descriptor, or the old and the new name."""

    pid: str
    name: str
    path: str
    new: str = ""


def traced(project: Project, folder: Path, *args: str) -> list[Call]:
    """The calls of a command that concern files in `folder`, as they ended."""
    trace, calls = folder.parent / "trace", ",".join(sorted(MAKING | NAMING | WRITING | SYNCING))
    prefix = ("strace", "-f", "-y", "-qq", "-s", "0", "-o", str(trace), "-e", f"trace={calls}")
    done = project.run(*args, prefix=prefix, environment={"PROCESSES": "2"})
    assert done.returncode == 0, done.stderr
    made = _calls(trace.read_text().splitlines())
    return [call for call in made if (call.new or call.path).startswith(f"{folder}/") or call.path == str(folder)]


def _calls(lines: list[str]) -> Iterator[Call]:
    """The calls in the lines of a trace; a call that waited is taken where it goes on, a failed one is left out."""
    waiting: dict[str, Call] = {}
    for line in lines:
        if (resumed := RESUMED.match(line)) and resumed["pid"] in waiting:
            yield waiting.pop(resumed["pid"])
        elif found := LINE.match(line):
            call = _call(found["pid"], found["name"], found["rest"])
            if call is None:
                continue
            if line.endswith("<unfinished ...>") and call.name not in WRITING:
                waiting[call.pid] = call
            elif "= -1" not in line:
                yield call


def _call(pid: str, name: str, rest: str) -> Call | None:
    if name in NAMING | MAKING:
        paths = re.findall(r'"([^"]*)"', rest)
        return Call(pid, name, *paths)
    descriptor = re.match(r"\d+<(.*?)>", rest)
    return Call(pid, name, descriptor[1]) if descriptor else None


def check_order(calls: list[Call]) -> int:
    """Every name is given to what was synced after the last write to it, and the directory is synced before the
    process gives the next name; how many names were given. Files of a conversion in progress are not synced: each
    ends with a checksum, and one that a power cut has spoiled is made again.
    """
    named = [n for n, call in enumerate(calls) if call.name in NAMING and Path(call.path).parent.name not in WORK]
    for n in named:
        call = calls[n]
        about = [each for each in calls[:n] if each.path == call.path and each.name not in NAMING]
        assert about and about[-1].name in SYNCING, f"{call} without a sync of it before"
        later = (each for each in calls[n + 1 :] if each.pid == call.pid and each.name not in WRITING)
        after = next(later, None)
        assert after is not None and after.name == "fsync", f"{call} without a sync of its directory after"
        assert after.path == str(Path(call.new).parent), f"{call} is followed by {after}"
    return len(named)


def check_directories(calls: list[Call], within: Path) -> int:
    """The names of directories are on disk before the process names what is in them; how many were made."""
    made = [n for n, call in enumerate(calls) if call.name in MAKING and Path(call.path).is_relative_to(within)]
    for n in made:
        later = (each for each in calls[n + 1 :] if each.pid == calls[n].pid)
        until = itertools.takewhile(lambda each: each.name not in NAMING, later)
        synced = [each.path for each in until if each.name == "fsync"]
        assert str(Path(calls[n].path).parent) in synced, f"{calls[n]} without a sync of the directory that it is in"
    return len(made)


def test_every_file_of_a_conversion_is_synced_before_and_its_directory_after_it_gets_its_name(
    project: Project, whole: Project
) -> None:
    """Collection, first stage, numbered samples, tokens, 40 shards, their receipts, and the manifest last."""
    calls = traced(project, project.cache, "convert", "--split", "train")
    assert project.tree() == whole.tree()
    assert check_order(calls) >= 40 + 40 + 4 + 1 + 1
    assert check_directories(calls, project.location.parent) == 3  # of the id, the generation and the receipts
    names = [Path(call.new).name for call in calls if call.name in NAMING]
    assert names[-1] == "manifest.json" and names.count("manifest.json") == 1
    shards = {path.name for path in project.location.glob("shard-*")}
    assert shards | {f"{name}.json" for name in shards} | {"source.yaml", "wanted-doc", "doc-0"} <= set(names)


@pytest.mark.slow
def test_a_checkpoint_is_synced_before_it_gets_its_name(project: Project, tmp_path: Path) -> None:
    """All files of it and their directory; TensorFlow itself syncs nothing."""
    assert project.run("convert").returncode == 0
    out = tmp_path / "runs" / "out"
    calls = traced(project, out.parent, "train", "--out", str(out), "trainer.niters=2", "trainer.itersize=10")
    given = [n for n, call in enumerate(calls) if call.name in NAMING and Path(call.new).parent.name == "checkpoints"]
    assert [Path(calls[n].new).name for n in given] == ["iter-00001", "iter-00002"]
    for n in given:
        built, named = Path(calls[n].path), Path(calls[n].new)
        for name in [*contents(named), "."]:
            about = [call for call in calls[:n] if Path(call.path) == built / name]
            assert about and about[-1].name == "fsync", f"{name} is not synced"
        after = next(call for call in calls[n + 1 :] if call.pid == calls[n].pid and call.name not in WRITING)
        assert (after.name, after.path) == ("fsync", str(named.parent))
