"""Features of queries with documents as a memory-mapped table, and the judgments that come with them.

The rows are read once, in flat memory, into a file of the local cache folder: float32 [N, width], the rows of a query
one after the other; then the queries and grades as JSON; then the length of that, a little-endian int64. Document n of
a query, counted from 1, has the id `QUERY.n`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from rankcli.data.kept import Kept, read_seal
from rankcli.data.trec import Qrels
from rankcli.errors import DataError
from rankcli.log import say
from rankcli.shapes import Floats
from rankcli.storage.atomic import publish
from rankcli.storage.disk import guard
from rankcli.storage.locks import reading
from rankcli.storage.scratch import scratch as building

VERSION = 1
KIND, SUFFIX = "features", ".f32"
_LENGTH = struct.Struct("<q")
_REPORT_EVERY = 1_000_000


class FeatureRow(NamedTuple):
    """A document of a query: its part of the split (empty without one), grade, and the features at some columns."""

    part: str
    qid: str
    grade: int
    columns: list[int]
    values: list[float]


class FeatureTable:
    """The features that `table_from` kept. Can be pickled; the file is mapped at its first use."""

    def __init__(self, path: Path, source: str) -> None:
        self.path, self.source = path, source
        self._held = reading(path)
        with guard(path), path.open("rb") as file:
            file.seek(-_LENGTH.size, 2)
            end = file.tell()
            (length,) = _LENGTH.unpack(file.read())
            file.seek(end - length)
            found = json.loads(file.read(length))
        self.width: int = found["width"]
        self.judged: dict[str, dict[str, list[int]]] = found["judged"]  # part -> query -> grades

    def __reduce__(self) -> tuple[type[FeatureTable], tuple[Path, str]]:
        return FeatureTable, (self.path, self.source)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the file, which has all features, queries and grades."""
        seal = read_seal(self.path)
        assert seal is not None  # it was read when the table was opened
        return str(seal["sha256"])

    @property
    def queries(self) -> dict[str, str]:
        """An empty text for each query."""
        return {qid: "" for queries in self.judged.values() for qid in queries}

    @property
    def qrels(self) -> dict[str, Qrels]:
        """The grades of all documents, by part of the split."""
        return {
            part: {qid: {f"{qid}.{n}": grade for n, grade in enumerate(grades, 1)} for qid, grades in queries.items()}
            for part, queries in self.judged.items()
        }

    def features(self, qid: str, docids: tuple[str, ...]) -> Floats:
        """The features of some documents for a query, float32 [K, width]; DataError for a pair without features."""
        rows = [self._row(qid, docid) for docid in docids]
        return np.array(self._rows[rows], np.float32).reshape(len(docids), self.width)

    def _row(self, qid: str, docid: str) -> int:
        start, count = self._spans.get(qid, (0, 0))
        prefix, _, number = docid.rpartition(".")
        if prefix != qid or not (number.isascii() and number.isdecimal()) or not 1 <= int(number) <= count:
            raise DataError(f"document {docid!r} has no features for query {qid!r}", where=self.source)
        return start + int(number) - 1

    @cached_property
    def _spans(self) -> dict[str, tuple[int, int]]:
        """The first row and the number of rows of each query."""
        spans, start = {}, 0
        for queries in self.judged.values():
            for qid, grades in queries.items():
                spans[qid] = start, len(grades)
                start += len(grades)
        return spans

    @cached_property
    def _rows(self) -> Floats:
        rows = sum(count for _, count in self._spans.values())
        return np.memmap(self.path, "<f4", "r", shape=(rows, self.width))


def table_from(
    made_of: str,
    rows: Callable[[], Iterator[FeatureRow]],
    width: int | None,
    missing: float,
    source: str,
    folder: Path,
    measured: Callable[[], int] | None = None,
) -> FeatureTable:
    """The table of the features that `rows` reads, in `folder`; made if it is missing.

    `made_of` must change whenever the rows do. The rows of a query come one after the other, and those of a part.
    Without `width`, it is `measured()`, else the greatest column plus 1, for which the rows are read twice. A column
    that a row does not name is `missing`.
    """
    kept = Kept(folder, KIND, SUFFIX, f"{VERSION}:{width}:{missing!r}:{made_of}", source)
    if not kept.is_whole():
        say(f"reading {source}")
        if width is None:
            width = measured() if measured else 1 + max(max(row.columns, default=0) for row in rows())
        with guard(kept.path), building(folder, kept.path.name) as place:
            with (place / "features").open("wb") as file:
                _write(file, rows(), width, missing, source)
            publish(place / "features", kept.path)
            kept.seal()
    return FeatureTable(kept.path, source)


def _write(file: BinaryIO, rows: Iterator[FeatureRow], width: int, missing: float, source: str) -> None:
    judged: dict[str, dict[str, list[int]]] = {}
    for number, row in enumerate(rows, 1):
        dense = np.full(width, missing, "<f4")
        dense[row.columns] = row.values
        file.write(dense.tobytes())
        judged.setdefault(row.part, {}).setdefault(row.qid, []).append(row.grade)
        if number % _REPORT_EVERY == 0:
            say(f"{source}: {number:,} rows read")
    about = json.dumps({"width": width, "judged": judged}).encode()
    file.write(about + _LENGTH.pack(len(about)))
