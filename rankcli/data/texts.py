"""Documents and queries with one record per line or row: JSONL as in BEIR, TSV as in MS MARCO, tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rankcli.data.lines import MAX_TEXT_LINE, Row, checked_id, checked_text, fail, read_rows, titled
from rankcli.data.tables import read_records
from rankcli.log import say, warn

ID_KEYS = ("_id", "id", "qid", "docid", "doc_id", "docno", "pid", "query_id", "query-id", "corpus-id")
TEXT_KEYS = ("text", "contents", "query", "content", "body", "passage", "question")
_ID_NAMES = {
    "_id",
    "id",
    "qid",
    "pid",
    "docid",
    "docno",
    "number",
    "queryid",
    "corpusid",
    "passageid",
    "documentid",
    "topic",
}
_TITLE_NAMES = {"title", "headline"}
_TEXT_NAMES = {*TEXT_KEYS, "document", "doc", "abstract", "sentence"}
_UNREAD_NAMES = {"url", "metadata", "link"}
_NAMES = _ID_NAMES | _TITLE_NAMES | _TEXT_NAMES | _UNREAD_NAMES


class Columns(NamedTuple):
    """The columns of a table: how many there are, that of the id, and those of the text in the order of reading, the
    first `titles` of them of its title.
    """

    total: int
    id: int
    texts: tuple[int, ...]
    titles: int = 0


PLAIN, DOCUMENTS = Columns(2, 0, (1,)), Columns(4, 0, (2, 3), 1)  # id and text; MS MARCO's id, url, title, text


def read_jsonl(path: str | Path) -> Iterator[Row]:
    """Read objects with an id, a text and, optionally, a `title`, which goes before the text with a space.

    Their keys are `_id` and `text` (BEIR), `id` and `contents` (Anserini), or `qid` and `query`.
    """
    for line, record in json_records(path):
        yield _row(record, path, line)


def read_table(path: str | Path) -> Iterator[Row]:
    """Read a Parquet or Arrow file, whose columns are called as the keys of JSONL; ids may be whole numbers."""
    for number, record in read_records(path):
        key = _named(record, ID_KEYS)
        yield _row({**record, key: str(record[key])} if type(record.get(key)) is int else record, path, number)


def json_records(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of every line."""
    for line, content in read_rows(path, MAX_TEXT_LINE):
        yield line, _object(content, path, line)


def _row(record: dict[str, Any], path: str | Path, line: int) -> Row:
    docid = checked_id(_string(record, _named(record, ID_KEYS), path, line), path, line)
    title = _string(record, "title", path, line) if record.get("title") is not None else ""
    row = titled(line, docid, title, _string(record, _named(record, TEXT_KEYS), path, line))
    checked_text(row.text, path, line)
    return row


def read_tsv(path: str | Path) -> Iterator[Row]:
    """Read lines of an id, a tab and a text, MS MARCO's documents (id, url, title, text), or the columns that a header
    names, such as `id`, `title`, `text`.
    """
    found = PLAIN
    for line, content in read_rows(path, MAX_TEXT_LINE):
        fields = [field.strip() for field in content.split("\t")]
        if line == 1 and (named := _header(fields)):
            warn(f"{path}:1: skipped: a header ({', '.join(fields)})")
            found = named
            continue
        if line == 1 and len(fields) == DOCUMENTS.total and fields[1].startswith(("http://", "https://")):
            say(f"{path}: 4 columns, read as id, url, title and text; the url is left out")
            found = DOCUMENTS
        if len(fields) != found.total:
            what = f"{len(fields)} tab-separated columns, expected {found.total}"
            fail(path, line, what + (": id text" if found == PLAIN else ""), _remedy(len(fields)))
        texts = [fields[n] for n in found.texts]
        title, text = (" ".join(part) for part in (texts[: found.titles], texts[found.titles :]))
        yield titled(line, checked_id(fields[found.id], path, line), title, text)


def _header(fields: list[str]) -> Columns | None:
    """The columns that a header names: an id, a text or title, and perhaps others; None for a line that is none."""
    names = [re.sub(r"(?<=.)[ _-]", "", field.lower()) for field in fields]
    ids = [n for n, name in enumerate(names) if name in _ID_NAMES]
    titles = [n for n, name in enumerate(names) if name in _TITLE_NAMES]
    texts = [n for n, name in enumerate(names) if name in _TEXT_NAMES and n not in ids]
    if not ids or not (titles or texts) or not _NAMES.issuperset(names):
        return None
    return Columns(len(fields), ids[0], (*titles, *texts), len(titles))


def _remedy(columns: int) -> str:
    if columns < 2:
        return "put a tab between id and text"
    return (
        "put one tab between id and text and spaces for the tabs within the text, or name the columns in a first line: "
        "id, title, text"
    )


def _named(record: dict[str, Any], keys: tuple[str, ...]) -> str:
    """Return the first of the keys that the record has; the first of all if it has none."""
    return next((key for key in keys if key in record), keys[0])


def _object(content: str, path: str | Path, line: int) -> dict[str, Any]:
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:  # ValueError: malformed, or an integer of thousands of digits
        fail(path, line, f"not a JSON object on one line ({error})")
    if not isinstance(record, dict):
        fail(path, line, "not a JSON object")
    return record


def _string(record: dict[str, Any], key: str, path: str | Path, line: int) -> str:
    if key not in record:
        fail(
            path,
            line,
            f"the key {key!r} is missing (keys: {', '.join(map(repr, record))[:200]})",
            "records are {_id, title, text}",
        )
    value = record[key]
    if not isinstance(value, str):
        fail(path, line, f"{key!r} is not a string but {json.dumps(value, default=str)[:40]}", "put it in quotes")
    return value
