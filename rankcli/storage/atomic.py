"""Files that appear whole or not at all: temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rankcli.storage.disk import guard

TEMPORARY = "tmp."  # an unfinished file is called NAME.tmp.PID.UUID


@contextmanager
def replacing_file(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """A temporary file next to `path` to write; when the block ends without an error, it becomes `path`.

    It is locked, so that nobody takes it for the remains of a dead process. OSErrors are passed on, for the caller to
    explain; FileExistsError if `path` exists and `replace` is not set.
    """
    temporary, lock = claim_file(path.parent, f"{path.name}.{TEMPORARY}")
    try:
        yield temporary
        publish(temporary, path, replace=replace)
    finally:
        with suppress(OSError):
            temporary.unlink()
        os.close(lock)


def claim_file(folder: Path, prefix: str) -> tuple[Path, int]:
    """Make a file with a unique name and lock it; make another one if a sweep removes it before it is locked."""
    while True:
        path = folder / f"{prefix}{unique()}"
        lock = try_lock(path, os.O_RDWR | os.O_CREAT)
        if lock is not None:
            return path, lock


def try_lock(name: Path, how: int) -> int | None:
    """A descriptor with the lock on the file; None if another process has it, or if it was removed meanwhile."""
    lock = os.open(name, how | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.stat(name).st_ino == os.fstat(lock).st_ino
    except (BlockingIOError, FileNotFoundError):
        held = False
    if not held:
        os.close(lock)
        return None
    return lock


def publish(temporary: Path, path: Path, *, replace: bool = True) -> None:
    """Sync a finished file, of the same file system, and give it its name; FileExistsError without `replace`."""
    sync(temporary)
    if replace:
        temporary.replace(path)
    else:
        os.link(temporary, path)
    sync(path.parent)


def write_file(path: Path, data: bytes, *, replace: bool = True) -> bool:
    """Write all of `data` to `path`, or leave it as it was; False if it exists and `replace` is not set."""
    with guard(path, len(data)):
        make_directory(path.parent)
        try:
            with replacing_file(path, replace=replace) as temporary:
                temporary.write_bytes(data)
        except FileExistsError:
            return False
    return True


def make_directory(path: Path) -> None:
    """Make a directory and its missing parents, so that their names survive a power cut."""
    missing = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for place in missing:
        sync(place.parent)


def unique() -> str:
    """A unique end of a temporary name: process id and random digits."""
    return f"{os.getpid()}.{uuid.uuid4().hex}"


def sync(path: Path) -> None:
    """Make the content of a file, or the names in a directory, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """`sync` of everything below a directory, then of itself."""
    for path in sorted(directory.rglob("*"), reverse=True):
        sync(path)
    sync(directory)
