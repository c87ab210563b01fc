"""Files of training triples as MS MARCO publishes them, in blocks of lines."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from rankcli.data.hashes import input_sha256
from rankcli.data.lines import MAX_ID, checked_id, fail, open_bytes, read_rows
from rankcli.data.source import Documents
from rankcli.data.triples import LineBlock, Triples, open_table

_LINES = 1 << 18  # lines of a block
_BYTES = 1 << 23  # bytes of a block
_TAB, _END = ord("\t"), ord("\n")


def open_triples(path: str | Path, docs: Documents, scratch: Path) -> Triples:
    """The triples of ids in a file `qid docid docid`, separated by tabs or spaces; cached in `scratch`."""
    return open_table(input_sha256(path), lambda: read_id_triples(path), docs, str(path), scratch)


def read_id_triples(path: str | Path) -> Iterator[LineBlock]:
    """The triples of ids in a file: many lines at once while they are plain (see `_block`), then one by one, with the
    errors of `read_rows`.
    """
    done = 0
    for block in _plain(path):
        if block is None:
            break
        done += len(block.qids)
        yield block
    else:
        if done:
            return
    rows = (_triple(line, path, number) for number, line in islice(read_rows(path), done, None))
    yield from in_blocks(rows)


def in_blocks(rows: Iterable[tuple[str, str, str]]) -> Iterator[LineBlock]:
    """Join triples to blocks."""
    iterator = iter(rows)
    while part := list(islice(iterator, _LINES)):
        yield LineBlock(*map(list, zip(*part, strict=True)))


def _plain(path: str | Path) -> Iterator[LineBlock | None]:
    """Yield the lines of a file in blocks while they are plain; None at the first block that is not, or unreadable."""
    rest = b""
    with open_bytes(path) as stream:
        while True:
            try:
                data = stream.read(_BYTES)
            except (EOFError, OSError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile):
                yield None
                return
            whole, end, rest = (rest + data).rpartition(b"\n") if data else (rest, b"\n" if rest else b"", b"")
            if not data and not end:
                return
            if end:
                yield (block := _block(whole + end))
                if block is None:
                    return


def _block(data: bytes) -> LineBlock | None:
    """Parse whole lines of three ids of printable ASCII characters with tabs between them; None for all other lines."""
    codes = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(codes <= ord(" "))
    lengths = np.diff(ends, prepend=-1) - 1
    if len(ends) % 3 or codes.max() > ord("~") or lengths.min() == 0 or lengths.max() > MAX_ID:
        return None
    if not (codes[ends].reshape(-1, 3) == (_TAB, _TAB, _END)).all():
        return None
    ids = data.decode("ascii").replace("\t", "\n").split("\n")
    return LineBlock(ids[0:-1:3], ids[1::3], ids[2::3])


def _triple(line: str, path: str | Path, number: int) -> tuple[str, str, str]:
    fields = line.split("\t") if "\t" in line else line.split(" ")
    if len(fields) != 3:
        fail(path, number, f"{len(fields)} columns, expected 3: qid docid docid")
    if any(" " in field.strip() for field in fields):
        fail(
            path,
            number,
            "these are triples of texts, not of ids",
            "use them as a source of their own: data.source={name: triples, path: ...}",
        )
    qid, positive, negative = (checked_id(field.strip(), path, number) for field in fields)
    return qid, positive, negative
