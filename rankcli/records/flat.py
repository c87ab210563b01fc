"""Lists of arrays of differing lengths as files, read through a memory map.

A file is the number of arrays, where each of them ends, their values, and the CRC32C of all that: a file that a crash
or a disk has spoiled is told from a good one.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

from rankcli.storage.disk import guard

_INT = np.dtype("<i8")
_BOUNDS = struct.Struct("<qq")
_CRC = np.dtype("<u4")


def write_flat(path: Path, arrays: Sequence[npt.NDArray[Any]], dtype: npt.DTypeLike) -> None:
    """Write `arrays`, their values as `dtype`, little-endian, to the file `path`."""
    ends = np.cumsum([len(array) for array in arrays], dtype=_INT)
    values = np.concatenate(arrays) if arrays else np.zeros(0, np.dtype(dtype))
    parts = [np.array([len(arrays)], _INT).tobytes(), ends.tobytes(), values.astype(_little(dtype)).tobytes()]
    content = b"".join(parts)
    content += np.array([google_crc32c.value(content)], _CRC).tobytes()
    with guard(path, len(content)):
        path.write_bytes(content)


class Flat:
    """What `write_flat` wrote: `flat[n]` is array n."""

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        with guard(path):
            # of the plain class, which is several times faster to index
            content = np.asarray(np.memmap(path, np.uint8, "r"))
        count = int(content[:8].view(_INT)[0])
        self._ends: list[int] = [0, *content[8 : 8 + 8 * count].view(_INT).tolist()]
        # values of 4 bytes may end up at an address that is no multiple of 4: np.ndarray takes that, view() would not
        self._values = np.ndarray(self._ends[-1], _little(dtype), content.data, 8 + 8 * count)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, n: int) -> npt.NDArray[Any]:
        return self._values[self._ends[n] : self._ends[n + 1]]


class Pieces:
    """What `write_flat` wrote, as bytes: `pieces[n]` are those of array n, whose values have `item_bytes` each."""

    def __init__(self, path: Path, item_bytes: int) -> None:
        with guard(path), path.open("rb") as file:
            self._content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._start = 8 + 8 * int.from_bytes(self._content[:8], "little")
        self._item_bytes = item_bytes

    def __getitem__(self, n: int) -> bytes:
        # ends are read where they lie: a list of them would take more memory than the tokens of short texts
        first, end = _BOUNDS.unpack_from(self._content, 8 * n)
        if n == 0:
            first = 0  # what stands there is the number of arrays
        return self._content[self._start + first * self._item_bytes : self._start + end * self._item_bytes]


def intact(path: Path) -> bool:
    """Whether `path` is there and as it was written."""
    if not path.is_file():
        return False
    with guard(path):
        content = path.read_bytes()
    crc = int.from_bytes(content[-_CRC.itemsize :], "little")
    return len(content) > _CRC.itemsize and google_crc32c.value(content[: -_CRC.itemsize]) == crc


def _little(dtype: npt.DTypeLike) -> np.dtype[Any]:
    return np.dtype(dtype).newbyteorder("<")
