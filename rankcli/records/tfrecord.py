"""TFRecord files, written and read without TensorFlow: processes start fast, and nothing is allocated on trust.

A record is its length (uint64), the masked CRC32C of those 8 bytes, the data, and the masked CRC32C of the data, all
little-endian. A file cut at the end of a record, or a doubled one, is a valid TFRecord file; that is for a manifest to
find.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import google_crc32c

from rankcli.errors import StorageError
from rankcli.storage.base import guard

_HEADER, _FOOTER = struct.Struct("<QI"), struct.Struct("<I")
_BLOCK = 1 << 20


class Written(NamedTuple):
    """What a file holds: records, bytes, CRC32C of all bytes."""

    records: int
    bytes: int
    crc32c: int


def masked_crc(data: bytes) -> int:
    """The CRC32C of `data` in the form that TFRecord stores (a CRC of bytes that hold CRCs would be weak)."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(data: bytes) -> bytes:
    """`data` as one record."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, _FOOTER.pack(masked_crc(length)), data, _FOOTER.pack(masked_crc(data))))


def write_records(path: Path, records: Iterable[bytes]) -> Written:
    """Write `records` to the new file `path` and sync it; StorageError when that fails."""
    count = size = crc = 0
    with guard(path), path.open("xb") as file:
        for data in records:
            framed = frame(data)
            file.write(framed)
            count, size, crc = count + 1, size + len(framed), google_crc32c.extend(crc, framed)
        file.flush()
        os.fsync(file.fileno())
    return Written(count, size, crc)


def checksum(path: Path) -> tuple[int, int]:
    """The size in bytes and the CRC32C of a file."""
    size = crc = 0
    with guard(path), path.open("rb") as file:
        while block := file.read(_BLOCK):
            size, crc = size + len(block), google_crc32c.extend(crc, block)
    return size, crc


def read_records(path: Path, start: int = 0) -> Iterator[bytes]:
    """The records of `path` from number `start` on; StorageError naming file, record and byte where one is damaged."""
    with guard(path), path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        for number in range(end):
            offset = file.tell()
            if offset == end:
                return
            where = f"{path}:{number} (byte {offset})"
            length = _length(file, end - offset, where)
            if number < start:
                file.seek(length + _FOOTER.size, os.SEEK_CUR)
            else:
                yield _data(file, length, where)


def _length(file: BinaryIO, left: int, where: str) -> int:
    if left < _HEADER.size:
        raise _damaged(f"the file ends within a record header, {left} bytes are left", where)
    header = file.read(_HEADER.size)
    length, crc = _HEADER.unpack(header)
    if crc != masked_crc(header[:8]):
        raise _damaged("the checksum of the record's length does not match", where)
    if length > left - _HEADER.size - _FOOTER.size:
        raise _damaged(f"the record claims {length} bytes, {left - _HEADER.size} are left", where)
    return int(length)


def _data(file: BinaryIO, length: int, where: str) -> bytes:
    data, footer = file.read(length), file.read(_FOOTER.size)
    if len(footer) < _FOOTER.size or _FOOTER.unpack(footer)[0] != masked_crc(data):
        raise _damaged("the checksum of the record does not match", where)
    return data


def _damaged(what: str, where: str) -> StorageError:
    return StorageError(f"damaged TFRecord: {what}", where=where, fix="delete the cache; the next run converts anew")
