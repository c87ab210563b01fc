"""Directories to build in, and the removal of those whose builder died.

A builder holds a lock on the file `lock` of its directory; the system releases it however the builder ends, so there is
no process id to mistake for another's and no clock to trust.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rankcli import log
from rankcli.storage.atomic import TEMPORARY, sync, sync_tree, unique
from rankcli.storage.base import guard


@contextmanager
def scratch(root: Path, name: str = "") -> Iterator[Path]:
    """A new directory in `root`, removed at the end; first those that nobody builds in any more are removed.

    With `name` it is one to build `root/name` in, and only those of the same name are removed.
    """
    prefix = f"{name}.{TEMPORARY}" if name else TEMPORARY
    with guard(root):
        root.mkdir(parents=True, exist_ok=True)
        sweep(root, prefix)
        path, lock = _claim(root, prefix)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


@contextmanager
def replacing_directory(directory: Path) -> Iterator[Path]:
    """An empty directory to fill; when the block ends without an error, it is synced and becomes `directory`.

    A directory cannot be renamed over another: the old one steps aside first, and back if the new one cannot come.
    """
    with scratch(directory.parent, directory.name) as place:
        built, old = place / "built", place / "old"
        built.mkdir()
        yield built
        sync_tree(built)
        if directory.exists():
            directory.rename(old)
        try:
            built.rename(directory)
        except OSError:
            if old.exists():
                old.rename(directory)
            raise
        sync(directory.parent)


def sweep(root: Path, prefix: str = TEMPORARY) -> None:
    """Remove the directories of dead builders, and say how many bytes that freed; one without a lock is not ours."""
    for path in sorted(path for path in root.iterdir() if path.name.startswith(prefix)):
        if path.is_symlink() or not (path / "lock").is_file():
            continue
        lock = _try_lock(path)
        if lock is None:
            continue
        freed = sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)
        log.say(f"removed what an interrupted run had left: {path.name}, {freed:,} bytes")


def _claim(root: Path, prefix: str) -> tuple[Path, int]:
    """A new directory and the lock on it; another one if a sweep takes it before it is locked."""
    while True:
        path = root / f"{prefix}{unique()}"
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
