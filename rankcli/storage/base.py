"""What storage promises: a name holds all of what was written or does not exist, also after a crash or a power cut."""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import google_crc32c

from rankcli.errors import ConfigError, StorageError

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_BLOCK = 1 << 20
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Stat(NamedTuple):
    """A file in storage: its size, the CRC32C of its bytes, and when it was written (seconds since 1970)."""

    bytes: int
    crc32c: int
    modified: float


class Storage(Protocol):
    """Files under one root; names are relative and made of hashes and counters, never of ids from data.

    Can be pickled: conversion processes write to it themselves. What fails is a StorageError (a MissingError where
    credentials or a bucket are missing).
    """

    @property
    def uri(self) -> str:
        """The root as the user would write it."""

    def read_bytes(self, name: str) -> bytes:
        """All of the small file `name`; StorageError where it is missing or something else than a plain file."""

    def write_bytes(self, name: str, data: bytes) -> None:
        """Make `name` hold `data`, whatever it held."""

    def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        """Make `name` hold `new` if it holds `old` (None: if it does not exist); False, and nothing done, otherwise.

        Of several that swap the same `old` at once, one succeeds; True also if `new` is what it holds already.
        """

    def put(self, path: Path, name: str, *, replace: bool = False) -> bool:
        """Store the local file `path`, which may be moved, as `name`.

        False, and nothing done, if that exists with other content and `replace` is not set. True if it has the same: an
        attempt whose answer was lost looks like that.
        """

    def fetch(self, name: str) -> Path:
        """A local file with the content of `name`, complete; whoever needs more compares it with a checksum kept
        elsewhere. Valid until it is opened: what is open may be evicted."""

    def stat(self, name: str) -> Stat | None:
        """What the file `name` holds; None when there is none. A local file is read for it."""

    def size(self, name: str) -> int | None:
        """Bytes of the file `name`, None when there is none."""

    def list(self, name: str = "") -> list[str]:
        """The names in the directory `name`, sorted, without what is still being built; empty if there is none."""

    def below(self, name: str = "") -> Sequence[str]:
        """The names of all files below the directory `name`, relative to it, sorted; without what `list` leaves out."""

    def delete(self, name: str) -> None:
        """Remove the file or directory `name`, if it exists."""

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Be the only one that has the lock `name`: waits, and says so, while a living process has it."""

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Be one of any number that use the directory `name`."""

    def held(self, name: str) -> bool:
        """Whether anybody has the lock `name` or holds the directory `name` now."""


def open_storage(uri: str) -> Storage:
    """The storage at `uri`: a local path or `gs://BUCKET/PREFIX`. Nothing is created before something is written."""
    from rankcli.storage.local import LocalStorage

    scheme, separator, _ = uri.partition("://")
    if not separator:
        return LocalStorage(Path(uri).expanduser())
    if scheme == "gs":
        from rankcli.storage.gcs import GcsStorage

        return GcsStorage(uri)
    raise ConfigError(f"unknown kind of storage {scheme}://", where=uri, fix="give a local path or gs://BUCKET/PREFIX")


def measured(file: BinaryIO) -> tuple[int, int]:
    """Size and CRC32C of what there is to read of a file."""
    size = crc = 0
    while block := file.read(_BLOCK):
        size, crc = size + len(block), google_crc32c.extend(crc, block)
    return size, crc


def is_remote(uri: str | Path) -> bool:
    """Whether `uri` names something that is not on a local disk."""
    return "://" in str(uri)


def is_name(name: str) -> bool:
    """Whether all parts of `name` are plain file names."""
    return all(_PART.fullmatch(part) for part in name.split("/"))


def check_name(name: str) -> str:
    """`name`, or ValueError if it could lead out of the storage."""
    if not is_name(name):
        raise ValueError(f"{name!r} is not a name in storage")
    return name


@contextlib.contextmanager
def guard(path: Path | str, needed: int | None = None) -> Iterator[None]:
    """Turn an OSError of what is done to `path` into a StorageError that says where and what to do.

    `needed` is how many bytes are written, if that is known, for the message of a full disk.
    """
    try:
        yield
    except OSError as error:
        what, where, fix = (
            error.strerror or str(error),
            str(error.filename or path),
            "check the path and its permissions",
        )
        if error.errno in _FULL:
            wanted = "" if needed is None else f"{needed:,} bytes were to be written, "
            what = f"{what}: {wanted}{free_bytes(Path(where)):,} bytes are free"
            fix = "free some space (or raise the limit: `ulimit -f`), or use another place, and run again"
        raise StorageError(what, where=where, fix=fix) from error


def free_bytes(path: Path) -> int:
    """Bytes free on the file system that `path` is on, or would be."""
    return shutil.disk_usage(next(place for place in (path, *path.absolute().parents) if place.exists())).free
