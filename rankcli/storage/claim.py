"""One process at a time in a directory; a second one is told who is there, and does not wait."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rankcli.errors import ConfigError
from rankcli.storage.base import guard

LOCK = ".tmp.lock"  # temporary, like everything with `.tmp.` in its name, and no part of what the directory holds


@contextmanager
def claimed(directory: Path, name: str) -> Iterator[None]:
    """Have a directory that exists alone; ConfigError, where another process has it, that calls it `name`.

    The system gives it back however its owner ends.
    """
    path = directory / LOCK
    with guard(path):
        descriptor = _claim(path, name)
    try:
        with guard(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} of {socket.gethostname()}".encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _claim(path: Path, name: str) -> int:
    """A descriptor that holds the lock. The owner removes the file: one that was opened before that is not it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        except BlockingIOError:
            owner = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
            os.close(descriptor)
            raise ConfigError(
                f"{owner} is training there", where=name, fix="wait until it ends, or give another --out"
            ) from None
        os.close(descriptor)
