"""The contract of storage: a name has all of the data written or does not exist, also after a crash or a power cut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Stat(NamedTuple):
    """A file in storage: its size, the CRC32C of its bytes, and its time of writing (seconds since 1970)."""

    bytes: int
    crc32c: int
    modified: float


class Storage(Protocol):
    """Files under one root; names are relative and made of hashes and counters, never of ids from data.

    Can be pickled: conversion processes write to it themselves. Failures are StorageErrors (MissingErrors if
    credentials or a bucket are missing).
    """

    @property
    def uri(self) -> str:
        """The root in the user's notation."""

    def read_bytes(self, name: str) -> bytes:
        """All of the small file `name`; StorageError if it is missing or no plain file."""

    def write_bytes(self, name: str, data: bytes) -> None:
        """Make `data` the content of `name`, new or not."""

    def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        """Replace the content of `name` by `new` if it is `old` (None: does not exist); else do nothing, return False.

        Of several processes that swap the same `old` at once, one succeeds. True also if the content is `new` already.
        """

    def put(self, path: Path, name: str, *, replace: bool = False) -> bool:
        """Store the local file `path`, which may be moved, as `name`.

        False, and nothing done, if that exists with other content and `replace` is not set. True if it exists with the
        same content, as after an attempt whose answer was lost.
        """

    def fetch(self, name: str) -> Path:
        """A complete local file with the content of `name`; it is not compared with a checksum recorded elsewhere.

        DamageError if it is missing or no plain file, another StorageError if it cannot be read. Open it at once: later
        fetches may delete the local file, but an open one stays readable.
        """

    def stat(self, name: str) -> Stat | None:
        """Size, checksum and time of the file `name`; None if it is missing. A local file is read for the checksum."""

    def size(self, name: str) -> int | None:
        """Bytes of the file `name`; None if it is missing."""

    def list(self, name: str = "") -> list[str]:
        """The names in the directory `name`, sorted, without temporary files and locks; empty if it is missing."""

    def below(self, name: str = "") -> Sequence[str]:
        """The names of all files below the directory `name`, relative to it, sorted; without those `list` omits."""

    def delete(self, name: str) -> None:
        """Remove the file or directory `name`, if it exists."""

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Have the lock `name` alone; waits while a living process has it, and prints that."""

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Mark the directory `name` as in use until the block ends; any number of processes may do so at once."""

    def held(self, name: str) -> bool:
        """True if a process has the lock `name` or uses the directory `name` now."""


def is_remote(uri: str | Path) -> bool:
    """True if `uri` names something that is not on a local disk."""
    return "://" in str(uri)


def is_name(name: str) -> bool:
    """True if all parts of `name` are plain file names."""
    return all(_PART.fullmatch(part) for part in name.split("/"))


def check_name(name: str) -> str:
    """Return `name`; ValueError if it could lead out of the storage."""
    if not is_name(name):
        raise ValueError(f"{name!r} is not a name in storage")
    return name
