"""Scores of pairs of query and document: a run, or JSONL with a record for each pair."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rankcli.data.fields import HEADERS
from rankcli.data.lines import checked_id, fail, start_of
from rankcli.data.run_lines import score_of
from rankcli.data.texts import json_records
from rankcli.data.trec import CompactRun, read_run

_KINDS = ("query id", "document id", "score")
_FIX = "records are {query-id, corpus-id, score}"


def read_scores(path: str | Path) -> CompactRun:
    """The scores by query and document id, each rounded to the nearest float32."""
    if not start_of(path).lstrip().startswith(b"{"):
        return read_run(path)
    found: dict[str, dict[str, float]] = {}
    for number, record in json_records(path):
        qid, docid, text = (_value(record, column, path, number) for column in range(3))
        score = score_of(text, path, number)
        if found.setdefault(qid, {}).setdefault(docid, score) != score:
            fail(path, number, f"query {qid!r} has document {docid!r} with two scores", "keep one of them")
    return CompactRun.of(found.items())


def _value(record: Mapping[str, Any], column: int, path: str | Path, number: int) -> str:
    """The text of a column, which has one of its usual names."""
    value = next((value for name, value in record.items() if name.lower() in HEADERS[column]), None)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        fail(path, number, f"there is no {_KINDS[column]}", _FIX)
    return str(value) if column == 2 else checked_id(str(value), path, number, _KINDS[column])
