"""The same configuration gives the same bytes in any process, whatever is around it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.project import Project, counts

pytestmark = pytest.mark.faults
SURROUNDINGS = [
    {"PROCESSES": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0"},
    {"PROCESSES": "2", "RAYON_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "true", "PYTHONHASHSEED": "1"},
    {"PROCESSES": "8", "RAYON_NUM_THREADS": "8", "TOKENIZERS_PARALLELISM": "true", "PYTHONHASHSEED": "4294967295"},
    {"PROCESSES": "3", "LANG": "C", "LC_ALL": "C", "TZ": "Asia/Kathmandu", "PYTHONUTF8": "0", "PYTHONHASHSEED": "7"},
    {"PROCESSES": "1", "LANG": "tr_TR.UTF-8", "COLUMNS": "20", "OMP_NUM_THREADS": "1", "PYTHONOPTIMIZE": "2"},
]


def one_cpu() -> None:
    """Leave the process one processor."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def as_it_is() -> None:
    """Leave the process as it is."""


@counts("number", small=[1], full=[0, 2, 3, 4])
def test_shards_and_manifest_are_those_of_any_other_process(
    project: Project, whole: Project, tmp_path: Path, number: int
) -> None:
    """Processes, threads, hash seed, locale, time zone, home and working directory change nothing."""
    home = tmp_path / "home"
    home.mkdir()
    before: Callable[[], None] = one_cpu if number % 2 and sys.platform == "linux" else as_it_is
    environment = {**SURROUNDINGS[number], "HOME": str(home)}
    done = project.run("convert", "--split", "train", environment=environment, cwd=home, before=before)
    assert done.returncode == 0, done.stderr
    assert project.tree() == whole.tree() and project.names() == whole.names()
    assert list(home.iterdir()) == []
