"""Training triples as a memory-mapped table of ordinals: query, relevant document, not relevant document.

A file of triples is read once, in flat memory, into a folder of the local cache that is named after a hash of its
content and of the collection. MS MARCO has 39,780,811 of them in one file: 780 MB on disk, and in memory only the pages
in use. Files of the folder, integers little-endian: `table`, int32 [N, 3], in the order of the file (-1 is a document
that is not in the collection); `pairs`, int32 [N, 2], its last two columns, sorted by query with a stable sort;
`starts`, int64 [Q + 1], the first pair of each query; `qids`, the query ids by ordinal, one per line; `meta`, counts
and checksums.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rankcli.data.joins import fail_documents
from rankcli.data.source import Documents
from rankcli.errors import StorageError
from rankcli.log import say, warn
from rankcli.shapes import Ints
from rankcli.storage.disk import guard, measured
from rankcli.storage.json_files import small_file
from rankcli.storage.locks import reading
from rankcli.storage.scratch import replacing_directory
from rankcli.storage.sealed import sealed, unsealed

VERSION = 2
META = "meta"
FILES = ("table", "pairs", "starts", "qids")
_ROWS = 1 << 22  # lines in memory at once
_REPORT_EVERY = 5_000_000
_INT4, _INT8 = np.dtype("<i4"), np.dtype("<i8")


class LineBlock(NamedTuple):
    """Some lines of triples: the ids of their queries, relevant and not relevant documents."""

    qids: list[str]
    positives: list[str]
    negatives: list[str]


class Triples:
    """The table that `open_table` made. Can be pickled; every file of it is opened at its first use.

    `source` is the name of the triples in messages.
    """

    def __init__(self, folder: Path, docs: Documents, source: str) -> None:
        self.folder, self.docs, self.source = folder, docs, source
        self._held = reading(folder / META)

    def __reduce__(self) -> tuple[type[Triples], tuple[Path, Documents, str]]:
        return Triples, (self.folder, self.docs, self.source)

    def __len__(self) -> int:
        return int(self.meta["lines"])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the file of triples."""
        return str(self.meta["content"])

    @cached_property
    def meta(self) -> dict[str, Any]:
        """Counts and checksums; StorageError if they are damaged."""
        try:
            return unsealed((self.folder / META).read_bytes())
        except (OSError, ValueError, KeyError) as error:
            raise self._damaged(repr(error)) from error

    @cached_property
    def qids(self) -> tuple[str, ...]:
        """The queries in the order of their first line."""
        with guard(self.folder / "qids"):
            return tuple((self.folder / "qids").read_text(encoding="utf-8").split("\n")[:-1])

    def pairs(self, qid: str) -> Ints:
        """The lines of one query in the order of the file: ordinals of relevant and not relevant document, [L, 2]."""
        n = self._numbers[qid]
        return self._pairs[self._starts[n] : self._starts[n + 1]]

    def lines(self, qids: Iterable[str]) -> Ints:
        """The line numbers of some queries, ascending; only lines with both documents in the collection."""
        asked = np.zeros(len(self.qids), bool)
        asked[[self._numbers[qid] for qid in qids if qid in self._numbers]] = True
        number = _INT4 if len(self) < 1 << 31 else _INT8
        parts = []
        for start, rows in _chunks(self._table):
            parts.append((np.flatnonzero(asked[rows[:, 0]] & (rows[:, 1:] >= 0).all(1)) + start).astype(number))
        return np.concatenate(parts)

    def line(self, number: int) -> tuple[str, str, str]:
        """The ids of one line: query, relevant and not relevant document."""
        query, *documents = self._table[number].tolist()
        positive, negative = self.docs.ids_at(documents)
        return self.qids[query], positive, negative

    def check(self) -> None:
        """Raise StorageError if a file has changed since it was written; warn of oddities in the triples."""
        for name in FILES:
            path = self.folder / name
            with guard(path), path.open("rb") as file:
                if [*measured(file)] != self.meta["files"][name]:
                    raise self._damaged(f"{name} is not as it was written")
        if incomplete := self.meta["incomplete"]:
            example = self.meta["absent"]
            warn(
                f"{self.source}: {incomplete} of {len(self)} lines name a document that is not in the collection, "
                f"which is left out (e.g. {example!r})"
            )
        if both := self.meta["both"]:
            warn(
                f"{self.source}: {both} documents are both relevant and not for the same query; they count as relevant"
            )

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {qid: n for n, qid in enumerate(self.qids)}

    @cached_property
    def _table(self) -> Ints:
        return _mapped(self.folder / "table", 3)

    @cached_property
    def _pairs(self) -> Ints:
        return _mapped(self.folder / "pairs", 2)

    @cached_property
    def _starts(self) -> list[int]:
        with guard(self.folder / "starts"):
            return [int(n) for n in np.fromfile(self.folder / "starts", _INT8)]

    def _damaged(self, what: str) -> StorageError:
        return StorageError(
            f"the table of triples is damaged ({what})",
            where=str(self.folder),
            fix="delete this folder: it is made anew",
        )


def open_table(
    content: str, blocks: Callable[[], Iterator[LineBlock]], docs: Documents, source: str, scratch: Path
) -> Triples:
    """The table of a file of triples whose hash is `content`, in `scratch`; made from its `blocks` if it is missing.

    DataError if no document of the first block is in the collection.
    """
    folder = scratch / _name(content, docs.order)
    if not folder.exists():
        with guard(folder), replacing_directory(folder) as built:
            counts = {
                "content": content,
                "order": docs.order,
                "source": source,
                **_write_table(built, blocks(), docs, source),
            }
            _sort_by_query(built, int(counts["queries"]))
            files = {}
            for name in FILES:
                with (built / name).open("rb") as file:
                    files[name] = measured(file)
            (built / META).write_bytes(sealed({**counts, "both": _count_both(built), "files": files}))
    triples = Triples(folder, docs, source)
    triples.check()
    return triples


def source_of(folder: Path) -> str | None:
    """Return the name of the triples of a folder; None if it is not named after what it is made of."""
    try:
        meta = unsealed(small_file(folder / META))
        return str(meta["source"]) if folder.name == _name(meta["content"], meta["order"]) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _name(content: str, order: str) -> str:
    return f"triples-{hashlib.sha256(f'{VERSION}:{content}:{order}'.encode()).hexdigest()[:32]}"


def _write_table(built: Path, blocks: Iterator[LineBlock], docs: Documents, source: str) -> dict[str, Any]:
    """Write `table` and `qids`, and return the counts."""
    queries: dict[str, int] = {}
    lines = incomplete = known = 0
    absent = ""
    with (built / "table").open("wb") as file:
        for block in blocks:
            numbers = [queries.setdefault(qid, len(queries)) for qid in block.qids]
            documents = docs.ordinals(block.positives + block.negatives).reshape(2, -1)
            file.write(np.stack([np.array(numbers), *documents], 1).astype(_INT4).tobytes())
            missing = (documents < 0).any(0)
            if not absent and missing.any():
                n = int(missing.argmax())
                absent = block.positives[n] if documents[0, n] < 0 else block.negatives[n]
            incomplete, known = incomplete + int(missing.sum()), known + int((documents >= 0).sum())
            if (lines + len(block.qids)) // _REPORT_EVERY > lines // _REPORT_EVERY:
                say(f"{source}: {lines + len(block.qids):,} triples read")
            lines += len(block.qids)
            if not known:
                fail_documents(block.positives + block.negatives, docs, source)
    (built / "qids").write_text("".join(f"{qid}\n" for qid in queries), encoding="utf-8")
    return {"lines": lines, "queries": len(queries), "incomplete": incomplete, "absent": absent}


def _sort_by_query(built: Path, queries: int) -> None:
    """Write `pairs` and `starts`: a counting sort, a part of the table at a time."""
    table = _mapped(built / "table", 3)
    counts = sum(
        (np.bincount(rows[:, 0], minlength=queries) for _, rows in _chunks(table)), np.zeros(queries, np.int64)
    )
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(_INT8)
    starts.tofile(built / "starts")
    pairs = np.memmap(built / "pairs", _INT4, "w+", shape=(len(table), 2))
    free = starts[:-1].copy()  # the next place of each query
    for _, rows in _chunks(table):
        order = np.argsort(rows[:, 0], kind="stable")
        query = rows[order, 0]
        nth = np.arange(len(query)) - np.searchsorted(query, query)
        pairs[free[query] + nth] = rows[order, 1:]
        free += np.bincount(query, minlength=queries)
    pairs.flush()


def _count_both(built: Path) -> int:
    """Count the documents that are both relevant and not for the same query, a part of the queries at a time."""
    pairs, starts = _mapped(built / "pairs", 2), np.fromfile(built / "starts", _INT8)
    both = first = 0
    while first < len(starts) - 1:
        last = max(int(np.searchsorted(starts, starts[first] + _ROWS, "right")) - 1, first + 1)
        rows = pairs[starts[first] : starts[last]].astype(np.int64)
        query = np.repeat(np.arange(last - first), np.diff(starts[first : last + 1])) << 32
        positives, negatives = (np.unique((query + rows[:, n])[rows[:, n] >= 0]) for n in (0, 1))
        both += len(np.intersect1d(positives, negatives, assume_unique=True))
        first = last
    return both


def _chunks(table: Ints) -> Iterator[tuple[int, Ints]]:
    for start in range(0, len(table), _ROWS):
        yield start, np.asarray(table[start : start + _ROWS])


def _mapped(path: Path, columns: int) -> npt.NDArray[Any]:
    """Map a file as a table, int32 [N, columns]: a plain array, several times faster to index than np.memmap."""
    with guard(path):
        return np.asarray(np.memmap(path, _INT4, "r")).reshape(-1, columns)
