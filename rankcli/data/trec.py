"""Judgments (qrels) and runs in TREC's columns, and qrels in BEIR's.

A run's rank column is not used: trec_eval orders by score, compared as float32, and breaks ties by id, descending.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, TypeVar

import numpy as np

from rankcli.data.fields import (
    BEIR_COLUMNS,
    BEIR_HEADER,
    HEADERS,
    QRELS_COLUMNS,
    columns,
    fail_columns,
    is_comment,
    is_header,
)
from rankcli.data.files import replacing
from rankcli.data.lines import Notes, checked_id, fail, read_rows
from rankcli.data.run_lines import run_lines
from rankcli.errors import DataError
from rankcli.shapes import Ranked

Qrels = dict[str, dict[str, int]]
Run = Mapping[str, Mapping[str, float]]
Value = TypeVar("Value", int, float)

MAX_GRADE = 1000  # trec_eval's nDCG takes time and memory that grow with the highest grade, and crashes on 2**31 - 1
REPEATED = "repeated lines ignored"

_INTEGER = re.compile(r"[+-]?[0-9]{1,9}")


class CompactRun(Mapping[str, dict[str, float]]):
    """A run in 12 bytes per document of a query, plus every different id once; documents are best first.

    `run[qid]` makes a new dict each time: changing it does not change the run.
    """

    def __init__(self, by_query: Mapping[str, Ranked]) -> None:
        self._by_query = by_query

    @classmethod
    def of(cls, items: Iterable[tuple[str, Mapping[str, float]]]) -> CompactRun:
        """The run of pairs of a query id and its scores, each rounded to the nearest float32."""
        return cls({qid: ranked(scores) for qid, scores in items})

    def part(self, qids: Iterable[str]) -> CompactRun:
        """The queries among `qids` that the run has, in that order; memory is shared."""
        return CompactRun({qid: self._by_query[qid] for qid in qids if qid in self._by_query})

    @property
    def by_query(self) -> Mapping[str, Ranked]:
        """The documents and scores of each query, best first; no copy."""
        return self._by_query

    def __or__(self, other: CompactRun) -> CompactRun:
        """The queries of both runs; a query of both is taken from `other`. Memory is shared."""
        return CompactRun({**self._by_query, **other._by_query})

    def __getitem__(self, qid: str) -> dict[str, float]:
        docids, scores = self._by_query[qid]
        return dict(zip(docids, scores.tolist(), strict=True))

    def __contains__(self, qid: object) -> bool:
        return qid in self._by_query

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_query)

    def __len__(self) -> int:
        return len(self._by_query)


def read_qrels(path: str | Path) -> Qrels:
    """Grades by query and document id.

    TREC: `qid iteration docid grade`, the iteration unused. BEIR: a header `query-id corpus-id score` (or other usual
    names of these), then these. TREC's columns may have a header, too.
    """
    qrels: Qrels = {}
    notes, names = Notes(path), QRELS_COLUMNS
    for number, line in read_rows(path):
        fields = columns(line)
        if number == 1 and is_header(fields):
            names = QRELS_COLUMNS if len(fields) == len(QRELS_COLUMNS) else BEIR_COLUMNS
            continue
        if is_comment(fields, names):
            continue
        if len(fields) != len(names):
            fail_columns(fields, names, path, number)
        qid, docid = (
            checked_id(fields[0], path, number, "query id"),
            checked_id(fields[-2], path, number, "document id"),
        )
        grade = _grade(fields[-1], path, number)
        _keep(qrels.setdefault(qid, {}), qid, docid, grade, path, number, notes)
    if not qrels:
        fail(path, 2, "there is no judgment below the header")
    notes.warn()
    return qrels


def read_judged(records: Iterable[tuple[int, Mapping[str, Any]]], path: str | Path) -> Qrels:
    """Grades by query and document id of records (line number, values by name), named as in BEIR's header."""
    qrels: Qrels = {}
    notes = Notes(path)
    for number, record in records:
        qid, docid, grade = (_value(record, n, path, number) for n in range(len(HEADERS)))
        qid, docid = checked_id(qid, path, number, "query id"), checked_id(docid, path, number, "document id")
        _keep(qrels.setdefault(qid, {}), qid, docid, _grade(grade, path, number), path, number, notes)
    notes.warn()
    return qrels


def _value(record: Mapping[str, Any], column: int, path: str | Path, number: int) -> str:
    """The value of a column of BEIR's header, under that or another usual name, as text. It may be a whole number,
    which tables also hold as 1.0.
    """
    value = next((value for name, value in record.items() if name.lower() in HEADERS[column]), None)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) not in (str, int):
        fix = f"records are {{{', '.join(BEIR_HEADER)}}}"
        fail(path, number, f"there is no text or whole number {BEIR_HEADER[column]!r}", fix)
    return str(value)


def write_qrels(path: str | Path, qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Write judgments in TREC's columns, by query and document id; whole or not at all."""
    with replacing(path) as stream:
        for qid in sorted(qrels):
            stream.writelines(f"{qid} 0 {docid} {grade}\n" for docid, grade in sorted(qrels[qid].items()))


def read_run(path: str | Path, depths: Mapping[str, int] | None = None) -> CompactRun:
    """Scores by query and document id, each rounded to the nearest float32; `run_lines` says which files it reads.

    A query in `depths` keeps only that many of its best documents.
    """
    try:
        return _read_run(path, depths or {})
    except Scattered:  # the query's later lines must be compared with all before them, also those cut off
        return _read_run(path, {})


def _read_run(path: str | Path, depths: Mapping[str, int]) -> CompactRun:
    notes, queries = Notes(path), _Queries(depths)
    docids: dict[str, str] = {}  # an id is checked and kept once for all queries
    for number, qid, docid, score in run_lines(path):
        if qid != queries.last:
            queries.turn_to(qid)
        known = docids.setdefault(docid, docid)
        if known is docid:
            checked_id(docid, path, number, "document id")
        _keep(queries.scores, qid, known, score, path, number, notes)
    notes.warn()
    return CompactRun(queries.ranked())


class RunFile:
    """A run in a file, read query by query each time it is iterated over: (query id, scores by document id).

    One query is in memory at a time, so the lines of each must be consecutive; `Scattered` is raised at the first that
    is not. Otherwise the same as `read_run`. Warnings are printed in the first pass only.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self._told = False

    def __iter__(self) -> Iterator[tuple[str, dict[str, float]]]:
        notes, seen, last = Notes(self.path), set[str](), ""
        scores: dict[str, float] = {}
        for number, qid, docid, score in run_lines(self.path):
            if qid != last:
                if scores:
                    yield last, scores
                if qid in seen:
                    raise Scattered(f"the lines of query {qid!r} do not stand together", where=f"{self.path}:{number}")
                last, scores = qid, {}
                seen.add(qid)
            _keep(scores, qid, checked_id(docid, self.path, number, "document id"), score, self.path, number, notes)
        yield last, scores
        if not self._told:
            notes.warn()
            self._told = True


class Scattered(DataError):
    """The lines of a query are not consecutive, so that a run cannot be read query by query."""


class _Queries:
    """The queries of a run while its lines are read: new lines go to `scores`, those of the query `last`.

    The lines of a query are mostly consecutive, so it is ranked, and cut off at its depth, when the next query begins.
    A query that comes again is ranked anew at the end, when all of its lines are read.
    """

    def __init__(self, depths: Mapping[str, int]) -> None:
        self.last, self.scores = "", dict[str, float]()
        self._depths = depths
        self._ranked: dict[str, Ranked] = {}
        self._scattered: dict[str, dict[str, float]] = {}

    def turn_to(self, qid: str) -> None:
        """Make `qid` the last query; `Scattered` if it comes again and has a depth."""
        self._rank_last()
        if qid in self._ranked and qid not in self._scattered:
            if qid in self._depths:
                raise Scattered(f"the lines of query {qid!r} do not stand together")
            docids, scores = self._ranked[qid]
            self._scattered[qid] = dict(zip(docids, scores.tolist(), strict=True))
        self.last, self.scores = qid, self._scattered.get(qid, {})

    def ranked(self) -> dict[str, Ranked]:
        """All queries in the order of their first line."""
        self._rank_last()
        self._ranked.update((qid, ranked(scores)) for qid, scores in self._scattered.items())
        return self._ranked

    def _rank_last(self) -> None:
        if self.scores and self.last not in self._scattered:
            self._ranked[self.last] = ranked(self.scores, self._depths.get(self.last))


def write_run(target: str | Path | TextIO, run: Mapping[str, Mapping[str, float]], tag: str = "rankcli") -> None:
    """Write a run in TREC's columns, queries by id, ranks from 1, each score as the shortest text of its float32.

    A path is written whole or not at all. Ids or scores that `read_run` would refuse are a DataError.
    """
    if isinstance(target, (str, Path)):
        with replacing(target) as stream:
            write_run(stream, run, tag)
        return
    for qid in sorted(run):
        write_query(target, qid, run[qid], tag)


def write_query(target: TextIO, qid: str, scores: Mapping[str, float], tag: str) -> None:
    """The lines of one query of a run, as `write_run` writes them."""
    for value, kind in ((tag, "tag"), (qid, "query id")):
        checked_id(value, "run", 1, kind)
    for rank, docid in enumerate(ranking(scores), 1):
        checked_id(docid, "run", rank, "document id")
        target.write(f"{qid} Q0 {docid} {rank} {np.float32(scores[docid])!s} {tag}\n")


def ranking(scores: Mapping[str, float]) -> tuple[str, ...]:
    """The document ids in trec_eval's order: float32 scores descending, ties by id descending."""
    return ranked(scores).docids


def ranked(scores: Mapping[str, float], depth: int | None = None) -> Ranked:
    """The documents (the best `depth` of them) in trec_eval's order, and their scores in float32."""
    with np.errstate(over="ignore"):
        rounded = np.array(list(scores.values()), dtype=np.float32)
    if not np.isfinite(rounded).all():
        bad = list(scores)[int(np.flatnonzero(~np.isfinite(rounded))[0])]
        raise DataError(f"the score of document {bad!r} is {scores[bad]}, not a finite float32")
    # Python compares strings by code point, which is the order of their UTF-8 bytes, as strcmp sees them.
    best = sorted(zip(rounded.tolist(), scores, strict=True), reverse=True)[:depth]
    return Ranked(tuple([docid for _, docid in best]), np.array([score for score, _ in best], np.float32))


def _keep(
    documents: dict[str, Value], qid: str, docid: str, value: Value, path: str | Path, number: int, notes: Notes
) -> None:
    if docid not in documents:
        documents[docid] = value
    elif documents[docid] == value:
        notes.add(REPEATED, number)
    else:
        known = documents[docid]
        what = f"query {qid!r} has document {docid!r} twice, with {known} and now with {value}"
        fail(path, number, what, "keep one of them")


def checked_grade(grade: int, path: str | Path, number: int) -> int:
    """Return `grade` if trec_eval can use it, else raise DataError."""
    if abs(grade) > MAX_GRADE:
        fix = "map them to a few grades, such as 0 to 3"
        fail(path, number, f"the grade {grade} is not within -{MAX_GRADE} to {MAX_GRADE}", fix)
    return grade


def _grade(text: str, path: str | Path, number: int) -> int:
    if not _INTEGER.fullmatch(text):
        fail(path, number, f"the grade {text[:40]!r} is not an integer")
    return checked_grade(int(text), path, number)
