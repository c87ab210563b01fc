"""Files of a model directory, which somebody else made: only regular ones are opened, only small ones read whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from rankcli.errors import StorageError

SMALL = 4 * 2**20  # bytes; parsed, JSON takes some 25 times that


def open_regular(path: Path) -> BinaryIO:
    """The file, for reading; StorageError for a pipe or a device, which could be waited for or read without end."""
    file = os.fdopen(
        os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb"
    )  # a pipe is opened without waiting for its writer
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise StorageError("not a regular file", where=str(path))


def small_file(path: Path) -> bytes:
    """The content of a file of settings; StorageError if it is too large to be one."""
    with open_regular(path) as file:
        content = file.read(SMALL + 1)
    if len(content) > SMALL:
        raise StorageError(f"more than {SMALL:,} bytes, too many for what it should hold", where=str(path))
    return content
