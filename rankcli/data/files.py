"""Writing a local file whole or not at all, and hashing one."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from rankcli.errors import ConfigError, StorageError

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


def temporary_beside(path: Path) -> Path:
    """A name in the same folder that no other process chooses."""
    return path.with_name(f"{path.name}.tmp.{os.getpid()}.{uuid.uuid4().hex}")


def publish(temporary: Path, path: Path) -> None:
    """Give a finished file its name: fsync, rename, fsync of the folder. An older file of that name is replaced."""
    with open(temporary, "rb") as stream:
        os.fsync(stream.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def replacing(path: str | Path) -> Iterator[TextIO]:
    """A UTF-8 text stream that becomes the file `path` when the block ends without an error.

    What exists and is no regular file (a pipe, /dev/stdout) is written to directly; a link is followed, not replaced.
    """
    target = Path(os.path.realpath(path))
    direct = target.exists() and not target.is_file()
    temporary = target if direct else temporary_beside(target)
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as stream:
            yield stream
        if not direct:
            publish(temporary, target)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise ConfigError(
            f"cannot be written: {error.strerror}", where=str(path), fix="name a file in an existing folder"
        ) from error
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(path)) from error
    finally:
        if not direct:
            with suppress(OSError):
                temporary.unlink()
