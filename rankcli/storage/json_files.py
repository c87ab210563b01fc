"""JSON objects in foreign or damaged files: read in bounded memory, with one kind of error."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from rankcli.errors import StorageError

SMALL = 4 * 2**20  # bytes; parsed JSON takes about 25 times as many


def open_regular(path: Path) -> BinaryIO:
    """Open the file for reading; StorageError for a pipe or a device, whose reading might never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # does not wait for the writer of a pipe
    file = os.fdopen(descriptor, "rb")
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise StorageError("not a regular file", where=str(path))


def whole_file(path: Path) -> bytes:
    """The content of a file of ours; StorageError if it is a pipe or a device."""
    with open_regular(path) as file:
        return file.read()


def small_file(path: Path) -> bytes:
    """The content of a small file, of 4 MiB at most; StorageError if it is larger."""
    with open_regular(path) as file:
        content = file.read(SMALL + 1)
    if len(content) > SMALL:
        raise StorageError(f"more than {SMALL:,} bytes, too many for what it should hold", where=str(path))
    return content


def read_object(path: Path, *, unique: bool = False, fix: str = "") -> dict[str, Any]:
    """The JSON object in a small file, as `parse_object` reads it."""
    return parse_object(small_file(path), str(path), unique=unique, fix=fix)


def parse_object(text: bytes, where: str, *, unique: bool = False, fix: str = "") -> dict[str, Any]:
    """Parse `text` as a JSON object; StorageError at `where`, with `fix`, for anything else.

    With `unique` a name may occur only once: readers of JSON disagree about which of two counts.
    """
    try:
        content = json.loads(text, object_pairs_hook=_once_each if unique else None)
    except (ValueError, RecursionError) as error:
        raise StorageError(f"the JSON in it cannot be read: {error}", where=where, fix=fix) from error
    if not isinstance(content, dict):
        raise StorageError("the JSON in it is not an object", where=where, fix=fix)
    return content


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            raise ValueError(f"{name!r} is there twice")
        content[name] = value
    return content
