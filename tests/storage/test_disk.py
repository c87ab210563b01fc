"""Messages about limits and disks, and the limit of open files."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from rankcli.errors import StorageError
from rankcli.storage.disk import guard
from rankcli.storage.limits import raise_open_files


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.EMFILE, "raise the limit of open files (`ulimit -n`) and run again"),
        (errno.ENFILE, "raise the limit of open files (`ulimit -n`) and run again"),
        (
            errno.ENOMEM,
            "free memory, or raise the limit of mapped files (`sysctl vm.max_map_count`), and run again",
        ),
        (errno.EACCES, "check the path and its permissions"),
    ],
)
def test_a_limit_has_a_remedy_of_its_own(number: int, fix: str) -> None:
    with pytest.raises(StorageError) as caught, guard("x"):
        raise OSError(number, os.strerror(number), "the/file")
    assert (caught.value.what, caught.value.where, caught.value.fix) == (os.strerror(number), "the/file", fix)


def test_the_soft_limit_of_open_files_becomes_the_hard_one() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
        raise_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_system_that_refuses_keeps_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, before = [], resource.getrlimit(resource.RLIMIT_NOFILE)

    def refuse(*args: object) -> None:
        asked.append(args)
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_open_files()
    assert asked == [(resource.RLIMIT_NOFILE, (before[1], before[1]))]
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_the_command_line_raises_it(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from rankcli import cli\n"
        "cli.run = lambda args: print(*resource.getrlimit(resource.RLIMIT_NOFILE)) or 0\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512)); cli.main([])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "512 512\n", done.stderr
