"""Weights of pairs of query and document: JSONL, such as judgments with a further key `weight`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rankcli.data.fields import HEADERS
from rankcli.data.lines import checked_id, fail
from rankcli.data.texts import json_records
from rankcli.errors import DataError

FIX = "records are {query-id, corpus-id, weight}"
_KINDS = ("query id", "document id")


def read_weights(path: str | Path) -> dict[str, dict[str, float]]:
    """The weights by query and document id; records without one are passed over, DataError if all are."""
    found: dict[str, dict[str, float]] = {}
    for number, record in json_records(path):
        qid, docid = (_id(record, column, path, number) for column in range(2))
        if "weight" in record:
            weight = _weight(record["weight"], path, number)
            if found.setdefault(qid, {}).setdefault(docid, weight) != weight:
                fail(path, number, f"query {qid!r} has document {docid!r} with two weights", "keep one of them")
    if not found:
        raise DataError("no record has a weight", where=str(path), fix=FIX)
    return found


def _id(record: Mapping[str, Any], column: int, path: str | Path, number: int) -> str:
    value = next((value for name, value in record.items() if name.lower() in HEADERS[column]), None)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        fail(path, number, f"there is no {_KINDS[column]}", FIX)
    return checked_id(str(value), path, number, _KINDS[column])


def _weight(value: Any, path: str | Path, number: int) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        fail(path, number, f"the weight {str(value)[:40]!r} is not a number from 0")
    return float(value)
