"""What storage promises: a name holds all of what was written or does not exist, also after a crash or a power cut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

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
