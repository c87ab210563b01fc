"""The local disk: errors with advice, sizes, checksums."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from rankcli.errors import StorageError

READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}  # of someone who may read only
_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_REMEDIES = {
    **dict.fromkeys(_FULL, "free some space (or raise the limit: `ulimit -f`), or use another place, and run again"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit of open files (`ulimit -n`) and run again"),
    **dict.fromkeys((errno.EROFS, errno.EIO), "use another place"),
    errno.ENOMEM: "free memory, or raise the limit of mapped files (`sysctl vm.max_map_count`), and run again",
}
_BLOCK = 1 << 20


def measured(file: BinaryIO) -> tuple[int, int]:
    """Size and CRC32C of a file from its present position on."""
    size = crc = 0
    while block := file.read(_BLOCK):
        size, crc = size + len(block), google_crc32c.extend(crc, block)
    return size, crc


@contextlib.contextmanager
def guard(path: Path | str, needed: int | None = None) -> Iterator[None]:
    """Turn an OSError of the block, which works on `path`, into a StorageError with place and advice.

    `needed` is the number of bytes to be written, if known, for the message of a full disk.
    """
    try:
        yield
    except OSError as error:
        what, where = error.strerror or str(error), str(error.filename or path)
        if error.errno in _FULL:
            wanted = "" if needed is None else f"{needed:,} bytes were to be written, "
            what = f"{what}: {wanted}{free_bytes(Path(where)):,} bytes are free"
        raise StorageError(what, where=where, fix=remedy(error)) from error


def remedy(error: OSError) -> str:
    """Advice on an error of the file system, or of a limit of the system."""
    return _REMEDIES.get(error.errno or 0, "check the path and its permissions")


def free_bytes(path: Path) -> int:
    """Bytes free on the file system that `path` is on, or would be."""
    return shutil.disk_usage(next(place for place in (path, *path.absolute().parents) if place.exists())).free
