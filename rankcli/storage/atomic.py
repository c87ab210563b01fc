"""Files that appear whole or not at all: temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rankcli.storage.disk import guard

TEMPORARY = "tmp."  # what is still being built is called NAME.tmp.PID.UUID


@contextmanager
def replacing_file(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """A name beside `path` to write a file under; when the block ends without an error, that file becomes `path`.

    OSErrors are the caller's to explain: FileExistsError where `path` exists and `replace` is not set.
    """
    temporary = path.with_name(f"{path.name}.{TEMPORARY}{unique()}")
    try:
        yield temporary
        publish(temporary, path, replace=replace)
    finally:
        with suppress(OSError):
            temporary.unlink()


def publish(temporary: Path, path: Path, *, replace: bool = True) -> None:
    """Give a finished file, of the same file system, its name."""
    sync(temporary)
    if replace:
        temporary.replace(path)
    else:
        os.link(temporary, path)
    sync(path.parent)


def write_file(path: Path, data: bytes, *, replace: bool = True) -> bool:
    """Write `path` so that it holds all of `data` or is as it was; False if it exists and `replace` is not set."""
    with guard(path, len(data)):
        make_directory(path.parent)
        try:
            with replacing_file(path, replace=replace) as temporary:
                temporary.write_bytes(data)
        except FileExistsError:
            return False
    return True


def make_directory(path: Path) -> None:
    """Make a directory, and those above it that are missing, so that their names survive a power cut."""
    missing = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for place in missing:
        sync(place.parent)


def unique() -> str:
    """The end of a temporary name, which no other process chooses: process id and random digits."""
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
