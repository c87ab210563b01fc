"""Locks between processes of one machine (and of one network file system that has `flock`).

The system releases a lock in any case when its owner ends, so no process ids or clocks are needed: the next process has
it at once, and a living owner never loses it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from rankcli.log import say, warn
from rankcli.storage.atomic import make_directory
from rankcli.storage.disk import READ_ONLY, guard

Busy = Callable[[str], None]


@contextmanager
def exclusive(path: Path, busy: Busy | None = None) -> Iterator[None]:
    """Have the lock file `path` alone.

    If another process has it, `busy` is called with its name, and may raise an error (default: print the name). Then
    wait.
    """
    with guard(path):
        descriptor = _claimed(path, fcntl.LOCK_EX, busy)
    try:
        _sign(descriptor, f"process {os.getpid()} of {socket.gethostname()}")
        yield
    finally:
        _sign(descriptor, "")
        os.close(descriptor)


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Have the lock file `path` together with any number of other `shared` owners.

    A reader who may not write has it as well; where there is no such file yet, nothing is locked, and that is said.
    """
    with guard(path):
        descriptor = _claimed_by_reader(path)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _claimed_by_reader(path: Path) -> int | None:
    try:
        return _claimed(path, fcntl.LOCK_SH)
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        warn(f"{path} cannot be written, so nothing tells others that this folder is in use")
        return None
    _wait(descriptor, fcntl.LOCK_SH, partial(_say_waiting, path))
    return descriptor


def taken(path: Path) -> bool:
    """True if a process has the lock file `path`, alone or shared."""
    if not path.is_file():
        return False
    with guard(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)  # whoever lists may not be the owner
    try:
        return not _take(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


class Reading:
    """A shared lock on a file that is read, until the object is gone; readers need no write access."""

    def __init__(self, descriptor: int) -> None:
        self.close = weakref.finalize(self, os.close, descriptor)


def reading(path: Path) -> Reading | None:
    """Keep a file from being removed by `removing`; None where that is not possible, as in some network folders."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return Reading(descriptor)


@contextmanager
def removing(path: Path) -> Iterator[bool]:
    """Yield True, with the file locked, if no process reads it."""
    with guard(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield _take(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def _claimed(path: Path, kind: int, busy: Busy | None = None) -> int:
    """A descriptor that has the lock; of a new file if the old one was removed, with its folder, while it waited."""
    while True:
        with suppress(FileNotFoundError):
            make_directory(path.parent)
            descriptor = _open(path)
            try:
                _wait(descriptor, kind, busy or partial(_say_waiting, path))
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)


def _wait(descriptor: int, kind: int, busy: Busy) -> None:
    if not _take(descriptor, kind):
        busy(_owner(descriptor))
        fcntl.flock(descriptor, kind)


def _say_waiting(path: Path, owner: str) -> None:
    say(f"waiting for {owner}, which has {path}")


def _sign(descriptor: int, name: str) -> None:
    """Write the owner into the lock file, for messages only; on a full disk nothing is written."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, name.encode(), 0)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def _take(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(descriptor: int) -> str:
    return os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
