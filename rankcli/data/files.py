"""Writing a text file that the user named, whole or not at all, and hashing one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

from rankcli.errors import ConfigError, StorageError
from rankcli.storage.atomic import replacing_file

_BLOCK = 1 << 20


def sha256_file(path: str | Path) -> str:
    """The hex SHA-256 of a file's bytes; ConfigError where it is no regular file."""
    if not os.path.isfile(path):
        reason = "is not a regular file" if os.path.exists(path) else "there is no such file"
        raise ConfigError(reason, where=str(path))
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    return digest.hexdigest()


@contextmanager
def replacing(path: str | Path) -> Iterator[TextIO]:
    """A UTF-8 text stream that becomes the file `path` when the block ends without an error.

    What exists and is no regular file (a pipe, /dev/stdout) is written to directly; a link is followed, not replaced.
    """
    target = Path(os.path.realpath(path))
    direct = target.exists() and not target.is_file()
    try:
        with (
            nullcontext(target) if direct else replacing_file(target) as place,
            open(place, "w", encoding="utf-8", newline="\n") as stream,
        ):
            yield stream
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise ConfigError(
            f"cannot be written: {error.strerror}", where=str(path), fix="name a file in an existing folder"
        ) from error
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(path)) from error
