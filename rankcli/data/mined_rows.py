"""Rows of a query with relevant documents and named lists of negatives, in the forms in which they are mined.

A row is an object of JSONL: a query id (`qid`, `query`, `anchor`, ...), `pos` and `neg`. `neg` is a list, or lists by
name. Also read: sentence-transformers' n-tuples `positive, negative_1, ..., negative_n`, Tevatron's
`positive_passages` and `negative_passages`, and scores: `scores` of all in order, or `pos_scores` and `neg_scores`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from rankcli.data.fields import HEADERS
from rankcli.data.lines import checked_id, fail
from rankcli.data.run_lines import score_of
from rankcli.data.texts import json_records
from rankcli.data.trec import CompactRun, ranked
from rankcli.shapes import Ranked

PLAIN = "neg"  # the name of negatives in one list
_QUERY = HEADERS[0] | {"anchor", "queries"}
_POSITIVE = ("pos", "positive", "positives", "pos_ids", "positive_passages")
_NEGATIVE = ("neg", "negatives", "neg_ids", "negative_passages")
_TUPLE = re.compile(r"negative(_\d+)?")
_ID = ("docid", "_id", "id")
_FIX = "a row has the ids of a query (query), of relevant documents (pos) and of negatives (neg), not their texts"


class MinedRow(NamedTuple):
    """One row: the line, the query, relevant documents, negatives by list, and scores by document, perhaps none."""

    line: int
    qid: str
    positives: tuple[str, ...]
    lists: Mapping[str, tuple[str, ...]]
    scores: Mapping[str, float]


def read_mined(path: str | Path) -> Iterator[MinedRow]:
    """The rows of a file; a row with several queries comes once for each."""
    for line, record in json_records(path):
        row = _Reader(record, path, line)
        positives, lists = row.positives(), row.lists()
        scores = row.scores(positives, lists)
        for qid in row.queries():
            yield MinedRow(line, qid, positives, lists, scores)


class _Reader:
    """The parts of one object."""

    def __init__(self, record: Mapping[str, Any], path: str | Path, line: int) -> None:
        self.record, self.path, self.line = record, path, line

    def queries(self) -> tuple[str, ...]:
        value = next((value for name, value in self.record.items() if name.lower() in _QUERY), None)
        return self._ids(value, "query")

    def positives(self) -> tuple[str, ...]:
        return self._ids(self._first(_POSITIVE), "relevant document")

    def lists(self) -> dict[str, tuple[str, ...]]:
        """The negatives by the name of their list."""
        given = self._first(_NEGATIVE)
        if given is None:
            given = [value for name, value in self.record.items() if _TUPLE.fullmatch(name)] or None
        named = given if isinstance(given, Mapping) else {PLAIN: given}
        return {name: self._ids(values, "negative") for name, values in named.items()}

    def scores(self, positives: tuple[str, ...], lists: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
        """The scores by document."""
        whole, parts = self.record.get("scores"), [self.record.get(key) for key in ("pos_scores", "neg_scores")]
        if whole is None and parts[1] is not None:
            named = parts[1] if isinstance(parts[1], Mapping) else {PLAIN: parts[1]}
            whole = [*(parts[0] or ()), *(score for name in lists for score in named.get(name, ()))]
        docids = [*positives, *(docid for docids in lists.values() for docid in docids)]
        if whole is None:
            return {}
        if not isinstance(whole, list) or len(whole) != len(docids):
            found = len(whole) if isinstance(whole, list) else type(whole).__name__
            fail(
                self.path, self.line, f"{len(docids)} documents, but scores: {found}", "give a score for each, in order"
            )
        return {docid: score_of(str(score), self.path, self.line) for docid, score in zip(docids, whole, strict=True)}

    def _first(self, names: tuple[str, ...]) -> Any:
        return next((self.record[name] for name in names if name in self.record), None)

    def _ids(self, value: Any, what: str) -> tuple[str, ...]:
        """The different ids of a list, or of one."""
        values = value if isinstance(value, list) else [] if value is None else [value]
        if not values:
            fail(self.path, self.line, f"there is no {what}", _FIX)
        return tuple(dict.fromkeys([self._id(each, what) for each in values]))

    def _id(self, value: Any, what: str) -> str:
        if isinstance(value, Mapping):
            value = next((value[name] for name in _ID if name in value), None)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            fail(self.path, self.line, f"the id of a {what} is {str(value)[:40]!r}", _FIX)
        if any(map(str.isspace, str(value))):
            fail(self.path, self.line, f"the id of a {what} is a text: {str(value)[:40]!r}", _FIX)
        return checked_id(str(value), self.path, self.line, f"id of a {what}")


def pairs_of(path: str | Path) -> CompactRun:
    """The pairs of query and document of a file, with their scores, 0 without one."""
    found: dict[str, Ranked] = {}
    known: dict[str, str] = {}  # an id is kept once for all rows
    for qid, rows in groupby(read_mined(path), key=lambda row: row.qid):
        scores = CompactRun(found)[qid] if qid in found else {}
        for row in rows:
            docids = (*row.positives, *(docid for docids in row.lists.values() for docid in docids))
            scores.update((known.setdefault(docid, docid), row.scores.get(docid, 0.0)) for docid in docids)
        found[qid] = ranked(scores)
    return CompactRun(found)
