"""Documents and queries with one record per line: JSONL as in BEIR, TSV as in MS MARCO."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rankcli.data.lines import MAX_TEXT_LINE, Row, checked_id, checked_text, fail, read_rows


def read_jsonl(path: str | Path) -> Iterator[Row]:
    """Read objects with the strings `_id`, `text` and, optionally, `title`, which goes before the text with a space."""
    for line, content in read_rows(path, MAX_TEXT_LINE):
        record = _object(content, path, line)
        docid = checked_id(_string(record, "_id", path, line), path, line)
        title = _string(record, "title", path, line) if record.get("title") is not None else ""
        text = f"{title} {_string(record, 'text', path, line)}".strip()
        yield Row(line, docid, checked_text(text, path, line))


def read_tsv(path: str | Path) -> Iterator[Row]:
    """Read lines of an id, a tab and a text."""
    for line, content in read_rows(path, MAX_TEXT_LINE):
        fields = content.split("\t")
        if len(fields) != 2:
            fail(path, line, f"{len(fields)} tab-separated columns, expected 2: id text")
        yield Row(line, checked_id(fields[0].strip(), path, line), fields[1].strip())


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
