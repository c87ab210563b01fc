"""TFRecord files, written and read without TensorFlow, so that processes start fast and lengths are checked first.

A record is its length (uint64), the masked CRC32C of these 8 bytes, the data, and the masked CRC32C of the data, all
little-endian. A file that is cut off at the end of a record, or has a record twice, is a valid TFRecord file; only the
manifest's checksum finds that.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import google_crc32c

from rankcli.records.damage import damaged
from rankcli.storage.disk import guard, measured

_HEADER, _FOOTER = struct.Struct("<QI"), struct.Struct("<I")


class Written(NamedTuple):
    """The content of a file in numbers: records, bytes, CRC32C of all bytes."""

    records: int
    bytes: int
    crc32c: int


def masked_crc(data: bytes) -> int:
    """The CRC32C of `data` in the form that TFRecord stores (a CRC of bytes that contain CRCs would be weak)."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(data: bytes) -> bytes:
    """Frame `data` as one record."""
    return b"".join((_header(len(data)), data, _FOOTER.pack(masked_crc(data))))


@functools.lru_cache(maxsize=1 << 14)  # the same few lengths come again and again
def _header(length: int) -> bytes:
    return _HEADER.pack(length, masked_crc(struct.pack("<Q", length)))


def write_records(path: Path, records: Iterable[bytes]) -> Written:
    """Write `records` to the new file `path` and sync it; StorageError if that fails."""
    framed = [frame(data) for data in records]
    content = b"".join(framed)
    with guard(path, len(content)), path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Written(len(framed), len(content), google_crc32c.value(content))


@dataclass
class OpenShard:
    """An open TFRecord file, with its size and the CRC32C of all of it; `where` is its name in messages."""

    file: BinaryIO
    where: str
    size: int
    crc32c: int

    def read(self, start: int = 0) -> Iterator[bytes]:
        """The records from number `start` on; StorageError, with record and byte, at a damaged one."""
        self.file.seek(0)
        for number in range(self.size):
            offset = self.file.tell()
            if offset == self.size:
                return
            where = f"{self.where}:{number} (byte {offset})"
            length = _length(self.file, self.size - offset, where)
            if number < start:
                self.file.seek(length + _FOOTER.size, os.SEEK_CUR)
            else:
                yield _data(self.file, length, where)

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def open_shard(path: Path, where: str = "") -> OpenShard:
    """Open a file and read it once for its checksum; later changes of the path do not affect the open file."""
    with guard(path):
        file = path.open("rb")
        return OpenShard(file, where or str(path), *measured(file))


def read_records(path: Path) -> Iterator[bytes]:
    """The records of a file."""
    with closing(open_shard(path)) as shard:
        yield from shard.read()


def _length(file: BinaryIO, left: int, where: str) -> int:
    if left < _HEADER.size:
        raise damaged(f"damaged TFRecord: the file ends within a record header, {left} bytes are left", where)
    header = file.read(_HEADER.size)
    length, crc = _HEADER.unpack(header)
    if crc != masked_crc(header[:8]):
        raise damaged("damaged TFRecord: the checksum of the record's length does not match", where)
    if length > left - _HEADER.size - _FOOTER.size:
        raise damaged(f"damaged TFRecord: the record claims {length} bytes, {left - _HEADER.size} are left", where)
    return int(length)


def _data(file: BinaryIO, length: int, where: str) -> bytes:
    data, footer = file.read(length), file.read(_FOOTER.size)
    if len(footer) < _FOOTER.size or _FOOTER.unpack(footer)[0] != masked_crc(data):
        raise damaged("damaged TFRecord: the checksum of the record does not match", where)
    return data
