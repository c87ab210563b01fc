"""Lists of arrays of differing lengths as files, read through a memory map.

A file is the number of arrays, the end of each of them, their values, and the CRC32C of all that, which shows damage by
a crash or a disk.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt

from rankcli.storage.atomic import TEMPORARY, unique
from rankcli.storage.disk import guard

_INT = np.dtype("<i8")
_BOUNDS = struct.Struct("<qq")
_CRC = np.dtype("<u4")
_BLOCK = 1 << 22


class Joined(NamedTuple):
    """Arrays in one: their `values`, one behind the other, and the length of each."""

    values: npt.NDArray[Any]
    lengths: Sequence[int]

    @classmethod
    def of(cls, arrays: Sequence[npt.NDArray[Any]]) -> Joined:
        """Join arrays."""
        return cls(np.concatenate(arrays) if arrays else np.zeros(0, np.uint8), list(map(len, arrays)))


def write_flat(path: Path, arrays: Joined, dtype: npt.DTypeLike) -> None:
    """Write `arrays`, their values as `dtype`, little-endian, to the file `path`."""
    ends = np.cumsum(arrays.lengths, dtype=_INT)
    values = arrays.values.astype(_little(dtype), copy=False)
    content = b"".join([np.array([len(ends)], _INT).tobytes(), ends.tobytes(), values.tobytes()])
    content += np.array([google_crc32c.value(content)], _CRC).tobytes()
    with guard(path, len(content)):
        path.write_bytes(content)


def keep_flat(file: Path, arrays: Joined, dtype: npt.DTypeLike) -> None:
    """`write_flat` under a temporary name, then renamed. It is not synced: `intact` finds damage by a power cut."""
    with _renamed(file) as path:
        write_flat(path, arrays, dtype)


@contextmanager
def _renamed(file: Path) -> Iterator[Path]:
    path = file.with_name(f"{file.name}.{TEMPORARY}{unique()}")
    try:
        yield path
        with guard(file):
            path.replace(file)
    finally:
        path.unlink(missing_ok=True)


def merge_flat(file: Path, parts: Sequence[Path], dtype: npt.DTypeLike) -> None:
    """`keep_flat` of the arrays of several such files in turn; one file is in memory at a time."""
    counts = [Flat(part, dtype).count for part in parts]
    crc = 0
    with _renamed(file) as path, guard(path), path.open("xb") as stream:
        for block in _merged(parts, counts, dtype):
            crc = google_crc32c.extend(crc, block)
            stream.write(block)
        stream.write(np.array([crc], _CRC).tobytes())


def _merged(parts: Sequence[Path], counts: Sequence[int], dtype: npt.DTypeLike) -> Iterator[bytes]:
    yield np.array([sum(counts)], _INT).tobytes()
    taken = 0
    for part in parts:
        ends = Flat(part, dtype).ends
        yield (ends + taken).astype(_INT).tobytes()
        taken += int(ends[-1]) if len(ends) else 0
    for part in parts:
        yield Flat(part, dtype).values.tobytes()


class Flat:
    """The arrays of a file that `write_flat` wrote: `flat[n]` is array n, `values` all of them in one.

    `ends` [count] are the ends of the arrays in `values`.
    """

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        with guard(path):
            # a plain array is several times faster to index than np.memmap
            content = np.asarray(np.memmap(path, np.uint8, "r"))
        self.count = int(content[:8].view(_INT)[0])
        self.ends: npt.NDArray[np.int64] = content[8 : 8 + 8 * self.count].view(_INT)
        size = int(self.ends[-1]) if self.count else 0
        # values may start at an address that is no multiple of their size: np.ndarray allows that, view() does not
        self.values: npt.NDArray[Any] = np.ndarray(size, _little(dtype), content.data, 8 + 8 * self.count)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, n: int) -> npt.NDArray[Any]:
        return self.values[self.ends[n - 1] if n else 0 : self.ends[n]]

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        first = 0
        for end in self.ends.tolist():
            yield self.values[first:end]
            first = end


class FlatBytes:
    """The arrays of such a file as bytes: `pieces[n]` are those of array n; each value takes `item_bytes`."""

    def __init__(self, path: Path, item_bytes: int = 1) -> None:
        with guard(path), path.open("rb") as file:
            self._content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._start = 8 + 8 * int.from_bytes(self._content[:8], "little")
        self._item_bytes = item_bytes

    def __getitem__(self, n: int) -> bytes:
        # ends are read from the file: a list of them would take more memory than the tokens of short texts
        first, end = _BOUNDS.unpack_from(self._content, 8 * n)
        if n == 0:
            first = 0  # the first 8 bytes are the number of arrays
        return self._content[self._start + first * self._item_bytes : self._start + end * self._item_bytes]


def intact(path: Path) -> bool:
    """True if the file `path` exists and has its checksum."""
    if not path.is_file():
        return False
    with guard(path), path.open("rb") as file:
        size, crc, last = path.stat().st_size - _CRC.itemsize, 0, b""
        left = size
        while left > 0 and (block := file.read(min(left, _BLOCK))):
            crc, left = google_crc32c.extend(crc, block), left - len(block)
        last = file.read()
    return size > 0 and int.from_bytes(last, "little") == crc


def _little(dtype: npt.DTypeLike) -> np.dtype[Any]:
    return np.dtype(dtype).newbyteorder("<")
