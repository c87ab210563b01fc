"""Documents and queries with one record per line: JSONL as in BEIR, TSV as in MS MARCO."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rankcli.data.lines import MAX_TEXT_LINE, Row, checked_id, checked_text, fail, read_rows
from rankcli.log import warn

ID_KEYS, TEXT_KEYS = ("_id", "id", "qid"), ("text", "contents", "query")
_ID_NAMES = {*ID_KEYS, "pid", "docid", "doc_id", "docno", "query_id", "query-id", "corpus-id", "number"}
_TEXT_NAMES = {*TEXT_KEYS, "title", "content", "body", "passage", "document", "doc", "question"}


def read_jsonl(path: str | Path) -> Iterator[Row]:
    """Read objects with an id, a text and, optionally, a `title`, which goes before the text with a space.

    Their keys are `_id` and `text` (BEIR), `id` and `contents` (Anserini), or `qid` and `query`.
    """
    for line, content in read_rows(path, MAX_TEXT_LINE):
        record = _object(content, path, line)
        docid = checked_id(_string(record, _named(record, ID_KEYS), path, line), path, line)
        title = _string(record, "title", path, line) if record.get("title") is not None else ""
        text = f"{title} {_string(record, _named(record, TEXT_KEYS), path, line)}".strip()
        yield Row(line, docid, checked_text(text, path, line))


def read_tsv(path: str | Path) -> Iterator[Row]:
    """Read lines of an id, a tab and a text. A header such as `id`, `text` is skipped with a warning."""
    for line, content in read_rows(path, MAX_TEXT_LINE):
        fields = content.split("\t")
        if len(fields) != 2:
            fail(path, line, f"{len(fields)} tab-separated columns, expected 2: id text", _remedy(len(fields)))
        if line == 1 and fields[0].strip().lower() in _ID_NAMES and fields[1].strip().lower() in _TEXT_NAMES:
            warn(f"{path}:1: skipped: a header ({fields[0].strip()}, {fields[1].strip()})")
            continue
        yield Row(line, checked_id(fields[0].strip(), path, line), fields[1].strip())


def _remedy(columns: int) -> str:
    if columns < 2:
        return "put a tab between id and text"
    if columns == 4:
        joined = "awk -F'\\t' '{print $1 \"\\t\" $3 \" \" $4}' OLD > NEW"
        return f"for the columns id, url, title, text, as in MS MARCO: {joined}"
    return "put one tab between id and text, and spaces for the tabs within the text"


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
        fail(path, line, f"{key!r} is not a string but {json.dumps(value)[:40]}", "put it in quotes")
    return value
