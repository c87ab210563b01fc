"""The collection on disk: parsed once into SQLite, then read by id from any number of processes, in flat memory.

A store is named after a hash of its input, built under a temporary name, renamed when it is complete, and never changed
after that; a hash of it beside it shows if it was. So it can be read without locks, and several processes may build the
same one at once.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rankcli.data.kept import Kept
from rankcli.data.lines import Row, fail
from rankcli.data.packing import packed, unpacked
from rankcli.errors import DataError, StorageError
from rankcli.log import say, warn
from rankcli.shapes import Ints, Record
from rankcli.storage.atomic import publish
from rankcli.storage.disk import free_bytes, guard
from rankcli.storage.locks import reading
from rankcli.storage.scratch import scratch as building

VERSION = 4
KIND, SUFFIX = "docs", ".sqlite"
IDS_KEPT = 1 << 15  # documents, of which all ids are kept in memory
_CHUNK = 500  # ids per statement; older SQLite allows 999
_COLUMNS = "id TEXT NOT NULL, line INTEGER NOT NULL, text NOT NULL, title INTEGER NOT NULL"
_DOCS = f"CREATE TABLE docs (n INTEGER PRIMARY KEY, {_COLUMNS})"
_REPEATED = "id IN (SELECT id FROM docs GROUP BY id HAVING count(*) > 1)"
_REPORT_EVERY = 1_000_000
_MODULUS = 1 << 256
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class DocStore:
    """Document texts by id. Can be pickled and used across threads and forks: each opens the file for itself.

    `source` is the collection's name in messages. `fingerprint` is a hash of ids and texts in any order, `order` one
    that depends on their order, too. `titles` is a hash of what is title and what is text, empty without any title.
    The *ordinal* of a document, 0..len-1, is its place in that order.
    """

    def __init__(self, path: str | Path, source: str) -> None:
        self.path, self.source = Path(path), source
        self._local = threading.local()
        self._held = reading(self.path)
        try:
            meta = dict(self._db().execute("SELECT key, value FROM meta"))
            self._size, self.empty, self.repeated = int(meta["documents"]), int(meta["empty"]), int(meta["repeated"])
            self.fingerprint, self.order, self.titles = meta["fingerprint"], meta["order"], meta["titles"]
        except (sqlite3.Error, KeyError, ValueError) as error:
            raise self._damaged(error) from error

    def __len__(self) -> int:
        return self._size

    def __contains__(self, docid: object) -> bool:
        return isinstance(docid, str) and bool(self.known([docid]))

    def texts(self, docids: Iterable[str]) -> list[str]:
        """The text of each id, title and text joined by a space; an id that is not in the collection is a DataError."""
        return [record.text for record in self.records(docids)]

    def records(self, docids: Iterable[str]) -> list[Record]:
        """The document of each id; an id that is not in the collection is a DataError."""
        wanted = list(docids)
        found = {record.id: record for record in self._records(self._select("id, text, title", "id", wanted))}
        missing = next((docid for docid in wanted if docid not in found), None)
        if missing is not None:
            raise DataError(f"document {missing!r} is not in the collection", where=self.source)
        return [found[docid] for docid in wanted]

    def records_at(self, ordinals: Iterable[int]) -> list[Record]:
        """The document of each ordinal; IndexError where there is none."""
        return self._records(self._at("id, text, title", ordinals))

    def ids_at(self, ordinals: Iterable[int]) -> list[str]:
        """The id of each ordinal; IndexError where there is none."""
        return [docid for (docid,) in self._at("id", ordinals)]

    def id_at(self, ordinal: int) -> str:
        """The id of an ordinal; IndexError where there is none."""
        return self.ids_at([ordinal])[0]

    def ordinals(self, docids: Iterable[str]) -> Ints:
        """The ordinal of each id, int64; -1 for an id that is not in the collection."""
        wanted = list(docids)
        # sorted: neighbours are on the same pages
        found = self._numbers if len(self) <= IDS_KEPT else dict(self._select("id, n", "id", sorted(set(wanted))))
        return np.array([found.get(docid, -1) for docid in wanted], np.int64)

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        """The ordinal of every id, for a collection so small that one look-up of all is cheaper than many of some."""
        return dict(self._select("id, n", "n", range(len(self))))

    def known(self, docids: Iterable[str]) -> set[str]:
        """The ids among `docids` that are in the collection."""
        return {docid for (docid,) in self._select("id", "id", list(dict.fromkeys(docids)))}

    def absent(self, docids: Iterable[str]) -> set[str]:
        """The ids among `docids` that are not in the collection; the others take no memory."""
        iterator, absent = iter(docids), set[str]()
        while part := set(islice(iterator, _CHUNK)):
            absent |= part - self.known(part)
        return absent

    def iterate(self) -> Iterator[tuple[str, str]]:
        """Id and text of every document, in file order. Several threads may take turns in calling `next`."""
        last = -1
        while page := self._page(last):
            yield from ((docid, text) for _, docid, text in page)
            last = page[-1][0]

    def _page(self, after: int) -> list[tuple[int, str, str]]:
        """The documents that follow number `after`, read at once since a connection belongs to one thread."""
        query = "SELECT n, id, text FROM docs WHERE n > ? ORDER BY n LIMIT ?"
        try:
            return [(n, docid, unpacked(text)) for n, docid, text in self._db().execute(query, (after, _CHUNK))]
        except (sqlite3.Error, zlib.error) as error:
            raise self._damaged(error) from error

    def _records(self, rows: Iterable[tuple[str, str, int]]) -> list[Record]:
        try:
            return [Record(docid, unpacked(text), title) for docid, text, title in rows]
        except zlib.error as error:
            raise self._damaged(error) from error

    def _at(self, columns: str, ordinals: Iterable[int]) -> list[Any]:
        wanted = [int(n) for n in ordinals]
        found = {n: values for n, *values in self._select(f"n, {columns}", "n", wanted)}
        missing = next((n for n in wanted if n not in found), None)
        if missing is not None:
            raise IndexError(f"there is no document {missing} of {len(self)}")
        return [found[n] for n in wanted]

    def _select(self, what: str, key: str, values: Sequence[str] | Sequence[int]) -> list[tuple[Any, ...]]:
        """The columns `what` of the documents whose `key` is one of `values`."""
        rows: list[tuple[Any, ...]] = []
        try:
            for start in range(0, len(values), _CHUNK):
                part = _storable(values[start : start + _CHUNK])
                marks = ",".join("?" * len(part))
                rows += self._db().execute(f"SELECT {what} FROM docs WHERE {key} IN ({marks})", part)
        except sqlite3.Error as error:
            raise self._damaged(error) from error
        return rows

    def _db(self) -> sqlite3.Connection:
        """This thread's connection; a forked child must not use its parent's."""
        if getattr(self._local, "pid", None) != os.getpid():
            uri = f"{self.path.resolve().as_uri()}?mode=ro&immutable=1"
            self._local.db, self._local.pid = sqlite3.connect(uri, uri=True), os.getpid()
        return self._local.db  # type: ignore[no-any-return]

    def _damaged(self, error: Exception) -> StorageError:
        return StorageError(
            f"the document store cannot be read ({error})",
            where=str(self.path),
            fix="delete this file: it is made anew",
        )

    def __getstate__(self) -> dict[str, str]:
        return {"path": str(self.path), "source": self.source}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def store_of(docs: Mapping[str, str], source: str, scratch: Path) -> DocStore:
    """The store of documents given as texts by id; `source` is its name in messages."""
    content = hashlib.sha256(b"".join(_digest(docid, text) for docid, text in docs.items()))
    rows = (Row(n, docid, text) for n, (docid, text) in enumerate(docs.items(), 1))
    return store_from(f"texts:{content.hexdigest()}", lambda: rows, source, scratch)


def store_from(made_of: str, rows: Callable[[], Iterator[Row]], source: str, scratch: Path) -> DocStore:
    """The store of the documents that `rows` reads, in the folder `scratch`; built if it is missing.

    `made_of` must change whenever the documents do: the store is named after it.
    """
    kept = Kept(scratch, KIND, SUFFIX, f"{VERSION}:{made_of}", source)
    path = kept.path
    if not kept.is_whole():
        say(f"reading {source}")
        try:
            with guard(path):
                scratch.mkdir(parents=True, exist_ok=True)
                _build(path, rows(), source)
                kept.seal()
        except sqlite3.Error as error:
            raise StorageError(
                f"the document store cannot be written ({error}); {free_bytes(path):,} bytes are free",
                where=str(path),
                fix="free or choose another disk",
            ) from error
    store = DocStore(path, source)
    if store.repeated:
        warn(f"{source}: {store.repeated} documents are there more than once, with the same text; each is used once")
    if store.empty:
        warn(f"{source}: {store.empty} of {len(store)} documents are empty")
    return store


def _build(path: Path, rows: Iterator[Row], source: str) -> None:
    with building(path.parent, path.name) as place:
        temporary = place / "docs"
        with closing(sqlite3.connect(temporary)) as db:
            db.execute("PRAGMA journal_mode = OFF")  # an incomplete file is thrown away, never rolled back
            db.execute("PRAGMA synchronous = OFF")  # publish() calls fsync once, at the end
            db.execute(_DOCS)
            db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
            _fill(db, rows, source)
            db.commit()
        publish(temporary, path)


def _fill(db: sqlite3.Connection, rows: Iterator[Row], source: str) -> None:
    total = seen = 0
    order = hashlib.sha256()
    while batch := list(islice(rows, 10_000)):
        db.executemany(
            "INSERT INTO docs VALUES (?, ?, ?, ?, ?)",
            ((n, row.id, row.line, packed(row.text), row.title) for n, row in enumerate(batch, seen)),
        )
        digests = [_digest(row.id, row.text) for row in batch]
        total += sum(int.from_bytes(digest, "big") for digest in digests)
        order.update(b"".join(digests))
        seen += len(batch)
        if seen % _REPORT_EVERY == 0:
            say(f"{source}: {seen:,} documents read")
    if not seen:
        raise DataError("there are no documents", where=source)
    db.execute("CREATE INDEX by_id ON docs (id)")
    repeated, of_repeated = _repeats(db, source)
    if repeated:
        _remove_repeats(db)
    (empty,) = db.execute("SELECT count(*) FROM docs WHERE text = ''").fetchone()
    counts = {"documents": seen - repeated, "empty": empty, "repeated": repeated}
    fingerprint = f"{(total - of_repeated) % _MODULUS:064x}"
    meta = {**counts, "fingerprint": fingerprint, "order": order.hexdigest(), "titles": _titles(db)}
    db.executemany("INSERT INTO meta VALUES (?, ?)", [(key, str(value)) for key, value in meta.items()])


def _titles(db: sqlite3.Connection) -> str:
    """Hash the lengths of all titles, in any order; empty without any."""
    titles = db.execute("SELECT id, title FROM docs WHERE title > 0")
    total = sum(int.from_bytes(_digest(docid, str(length)), "big") for docid, length in titles)
    return f"{total % _MODULUS:064x}" if total else ""


def _repeats(db: sqlite3.Connection, source: str) -> tuple[int, int]:
    """Count the documents that repeat an earlier line, and sum their digests; DataError if the texts differ."""
    count = total = 0
    query = (
        f"SELECT b.id, a.line, b.line, a.text, b.text FROM (SELECT * FROM docs WHERE {_REPEATED}) b "
        "JOIN docs a ON a.n = (SELECT min(n) FROM docs WHERE id = b.id) WHERE b.n > a.n ORDER BY b.n"
    )
    for docid, first, again, old, new in db.execute(query):
        if unpacked(old) != unpacked(new):
            fail(source, again, f"document {docid!r} has another text than in line {first}", "keep one of them")
        count, total = count + 1, total + int.from_bytes(_digest(docid, unpacked(new)), "big")
    return count, total


def _remove_repeats(db: sqlite3.Connection) -> None:
    """Keep only the first document of each id, and number all documents anew, without gaps."""
    db.execute(f"DELETE FROM docs WHERE {_REPEATED} AND n > (SELECT min(n) FROM docs first WHERE first.id = docs.id)")
    db.execute("ALTER TABLE docs RENAME TO gaps")
    db.execute(_DOCS)
    db.execute("INSERT INTO docs SELECT row_number() OVER (ORDER BY n) - 1, id, line, text, title FROM gaps ORDER BY n")
    db.execute("DROP TABLE gaps")
    db.execute("CREATE INDEX by_id ON docs (id)")


def _digest(docid: str, text: str) -> bytes:
    """SHA-256 of one document; ids contain no NUL, so the pair cannot be read in two ways."""
    return hashlib.sha256(f"{docid}\0{text}".encode()).digest()


def _storable(values: Sequence[str] | Sequence[int]) -> Sequence[str] | Sequence[int]:
    """The values without lone surrogates: SQLite refuses these, and no stored id has one."""
    if not _SURROGATE.search("".join(map(str, values))):
        return values
    return [value for value in values if isinstance(value, str) and not _SURROGATE.search(value)]
