"""Directories to build in, and the removal of those whose builder died.

A builder holds a lock on the file `lock` of its directory; the system releases it however the builder ends, so there is
no process id to mistake for another's and no clock to trust.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from rankcli import log
from rankcli.storage.base import guard

TEMPORARY = "tmp."


@contextlib.contextmanager
def scratch(root: Path) -> Iterator[Path]:
    """A new directory in `root`, removed at the end; first those that nobody builds in any more are removed."""
    with guard(root):
        root.mkdir(parents=True, exist_ok=True)
        sweep(root)
        path, lock = _claim(root)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def sweep(root: Path) -> None:
    """Remove the directories of dead builders, and say how many bytes that freed."""
    for path in sorted(root.glob(f"{TEMPORARY}*")):
        if path.is_symlink() or not path.is_dir():
            continue
        lock = _try_lock(path)
        if lock is None:
            continue
        freed = sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)
        log.say(f"removed what an interrupted conversion had left: {path.name}, {freed:,} bytes")


def _claim(root: Path) -> tuple[Path, int]:
    """A new directory and the lock on it; another one if a sweep takes it before it is locked."""
    while True:
        path = root / f"{TEMPORARY}{os.getpid()}.{uuid.uuid4().hex}"
        path.mkdir()
        lock = _try_lock(path)
        if lock is not None:
            return path, lock


def _try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock of `path`; None while another process does, or when the directory is gone."""
    name = path / "lock"
    try:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.stat(name).st_ino == os.fstat(lock).st_ino
    except (BlockingIOError, FileNotFoundError):
        held = False
    if not held:
        os.close(lock)
        return None
    return lock
