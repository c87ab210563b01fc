"""The standard streams of the process: it goes on without them.

Messages on stderr are lost if nobody can receive them. Results on stdout are lost without an error if their reader has
stopped early (`| head`) or if stdout is closed; any other failure, such as a full disk, is an error.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

GONE = {errno.EPIPE, errno.EBADF}  # the reader has stopped, or the stream was closed


class _Stream(io.FileIO):
    """Bytes to an open descriptor. After a failure everything goes to /dev/null; `forgives` tells if it is an error."""

    def __init__(self, descriptor: int, name: str, forgives: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._called, self._forgives = name, forgives

    def write(self, data: ReadableBuffer) -> int:
        """Write data; OSError with the stream's name, once, where it cannot be written."""
        try:
            return super().write(data) or 0
        except OSError as error:
            discard(self.fileno())
            if self._forgives or error.errno in GONE:
                return memoryview(data).nbytes
            raise OSError(error.errno, error.strerror, self._called) from error


def make_lasting() -> None:
    """Open closed standard streams on /dev/null, and make stdout and stderr such that nobody needs to read them."""
    for descriptor in (0, 1, 2):  # in this order: a new descriptor is the lowest free one
        _open_if_closed(descriptor)
    sys.stdout = _lasting(sys.stdout, 1, "stdout", forgives=False)
    sys.stderr = _lasting(sys.stderr, 2, "stderr", forgives=True)


def discard(descriptor: int) -> None:
    """Send everything that is written to a descriptor to /dev/null."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _open_if_closed(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)


def _lasting(given: TextIO | None, descriptor: int, name: str, forgives: bool) -> TextIO:
    buffer = io.BufferedWriter(_Stream(descriptor, name, forgives))
    encoding, errors = (given.encoding, given.errors) if given else ("utf-8", "backslashreplace")
    return io.TextIOWrapper(buffer, encoding, errors, line_buffering=forgives or buffer.isatty())
