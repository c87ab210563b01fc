"""What storage promises: a name holds all of what was written or does not exist, also after a crash or a power cut."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from rankcli.errors import ConfigError, MissingError, StorageError

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Storage(Protocol):
    """Files under one root; names are relative and made of hashes and counters, never of ids from data."""

    @property
    def uri(self) -> str:
        """The root as the user would write it."""

    def fetch(self, name: str) -> Path:
        """A local file with the content of `name`; whoever needs its integrity compares checksums."""

    def read_bytes(self, name: str) -> bytes:
        """All of `name`."""

    def write_bytes(self, name: str, data: bytes, *, replace: bool = True) -> bool:
        """Make `name` hold `data`, at once; False, and nothing done, if it exists and `replace` is not set."""

    def list(self, name: str = "") -> list[str]:
        """The names in the directory `name`, sorted, without what is still being built; empty if there is none."""

    def size(self, name: str) -> int | None:
        """Bytes of the file `name`, None when there is none."""

    def delete(self, name: str) -> None:
        """Remove the file or directory `name`, if it exists."""

    def scratch(self) -> AbstractContextManager[Path]:
        """A new local directory to build in, gone afterwards; those whose process died are removed here too."""

    def publish(self, directory: Path, name: str) -> bool:
        """Make `directory`, built in `scratch()`, visible as `name`, at once; False where `name` exists already."""


def open_storage(uri: str) -> Storage:
    """The storage at `uri`, a local path. Nothing is created before something is written."""
    from rankcli.storage.local import LocalStorage

    scheme, separator, _ = uri.partition("://")
    if not separator:
        return LocalStorage(Path(uri).expanduser())
    if scheme == "gs":
        raise MissingError("gs:// storage is not supported by this version", where=uri, fix="give a local path")
    raise ConfigError(f"unknown kind of storage {scheme}://", where=uri, fix="give a local path")


def is_name(name: str) -> bool:
    """Whether all parts of `name` are plain file names."""
    return all(_PART.fullmatch(part) for part in name.split("/"))


def check_name(name: str) -> str:
    """`name`, or ValueError if it could lead out of the storage."""
    if not is_name(name):
        raise ValueError(f"{name!r} is not a name in storage")
    return name


@contextlib.contextmanager
def guard(path: Path | str) -> Iterator[None]:
    """Turn an OSError of what is done to `path` into a StorageError that says where and what to do."""
    try:
        yield
    except OSError as error:
        fix = (
            "free some space, or use another place, and run again"
            if error.errno in _FULL
            else "check the path and its permissions"
        )
        raise StorageError(error.strerror or str(error), where=str(error.filename or path), fix=fix) from error
