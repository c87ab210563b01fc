"""Conversions of the small fakes in forked processes, which take no time to start."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "records"))

from record_fakes import Groups, expected, job, same  # noqa: E402

from rankcli.errors import RankcliError  # noqa: E402
from rankcli.log import say  # noqa: E402
from rankcli.records.convert import convert  # noqa: E402
from rankcli.records.interleave import Records, read_examples  # noqa: E402
from rankcli.records.lookup import find  # noqa: E402
from rankcli.records.steps import ConversionJob  # noqa: E402
from rankcli.shapes import Sample  # noqa: E402
from rankcli.storage.local import LocalStorage  # noqa: E402

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["pytest", __name__])
_CHANGES = {"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir"}


def started(target: Callable[..., None], *args: Any) -> Any:
    """A process that runs `target`."""
    process = _FORKS.Process(target=target, args=args)
    process.start()
    return process


def killed_in(process: Any, seconds: float) -> bool:
    """True if a started process still ran after some seconds; it is killed then. It may end before the signal comes."""
    process.join(seconds)
    if process.exitcode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.join()
    return bool(process.exitcode == -signal.SIGKILL)


def exit_code(target: Callable[..., None], *args: Any) -> int:
    """The exit code of a process that runs `target`; less than 0 if by a signal."""
    process = started(target, *args)
    process.join()
    return int(process.exitcode)


def small(root: Path, **changes: Any) -> ConversionJob:
    """19 samples in 11 shards."""
    return job(root, samples=19, **changes)


def convert_small(root: Path) -> None:
    """Convert, or find, the small cache; ends with the exit code that an error has."""
    with exiting():
        convert(small(root))


def convert_unsynced(root: Path) -> None:
    """Convert, or find, the small cache without waiting for the disk: a kill is no power cut."""
    os.fsync = lambda descriptor: None
    convert(small(root))


def read_small(root: Path) -> None:
    """Read all of the newest small cache; exit code 4 where there is none."""
    with exiting():
        manifest = find(LocalStorage(root), "c0ffee", 19)
        if manifest is None:
            sys.exit(4)
        for n, example in enumerate(read_examples(Records(manifest, LocalStorage(root)))):
            assert same(example, expected(n))


@contextmanager
def exiting() -> Iterator[None]:
    """Make errors that are explained the exit code of the process, and say them."""
    try:
        yield
    except RankcliError as error:
        say(str(error))
        sys.exit(error.exit_code)


def convert_until(root: Path, change: int) -> None:
    """Convert, and be killed before a change of the file system, counted from 0."""
    left = iter(range(change, -1, -1))

    def audit(event: str, args: tuple[Any, ...]) -> None:
        opened_to_write = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if (event in _CHANGES or opened_to_write) and str(args[0]).startswith(str(root)) and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)
    convert_unsynced(root)


@dataclass(frozen=True)
class Noting(Groups):
    """Groups that leave a note of the process that draws one, and may wait for ever then."""

    note: Path = Path()
    for_ever: bool = False

    def __call__(self, n: int) -> Sample:
        self.note.touch()
        while self.for_ever:
            time.sleep(1)
        return super().__call__(n)


def convert_noting(root: Path, notes: Path) -> None:
    """Convert, or find, the small cache; note in files whether it was converted, and what was found."""
    manifest = convert(small(root, sampler=Noting(note=notes / f"{os.getpid()}.wrote")))
    (notes / f"{os.getpid()}.found").write_bytes(manifest.dump())


def convert_slowly(root: Path, begun: Path) -> None:
    """Begin to convert the small cache, note that, and never end."""
    convert(small(root, sampler=Noting(note=begun, for_ever=True)))
