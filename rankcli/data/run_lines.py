"""The lines of run files: TREC's six columns, MS MARCO's three with a rank, and its candidates with their texts."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from rankcli.data.fields import NUMBER, RUN_COLUMNS, columns, fail_columns, is_comment
from rankcli.data.lines import checked_id, fail, read_rows
from rankcli.log import say, warn

_FLOAT32 = struct.Struct("<f")


class RunLine(NamedTuple):
    """One line: its number, query id, document id (not checked) and score."""

    number: int
    qid: str
    docid: str
    score: float


_Parse = Callable[[str, int], "tuple[str, str, float] | None"]


def run_lines(path: str | Path) -> Iterator[RunLine]:
    """Every line of a run.

    `qid Q0 docid rank score tag`; or `qid docid rank`, whose score is 1 / rank; or, with tabs, `qid docid query text`,
    whose score is 0.
    """
    last, parse = "", None
    for number, line in read_rows(path):
        parse = parse or _format_of(line, path)
        if found := (parse or _Trec(path))(line, number):
            qid, docid, score = found
            if qid != last:
                last = checked_id(qid, path, number, "query id")
            yield RunLine(number, last, docid, score)


def _format_of(line: str, path: str | Path) -> _Parse | None:
    """The parser for the first line and all that follow; None for a comment."""
    fields, cells = columns(line), line.split("\t")
    if is_comment(fields, RUN_COLUMNS):
        return None
    if len(fields) == 3 and fields[2].isdecimal():
        say(f"{path}: 3 columns, read as query, document and rank; the score is 1 / rank")
        return _Ranks(path)
    if len(cells) == 4 and not cells[3].strip().isdecimal():
        warn(f"{path}: candidates with their texts, without scores or ranks: in order of their ids until reranked")
        return _Texts(path)
    return _Trec(path)


class _Trec:
    """TREC's columns."""

    def __init__(self, path: str | Path) -> None:
        self.path = path

    def __call__(self, line: str, number: int) -> tuple[str, str, float] | None:
        fields = columns(line)
        if is_comment(fields, RUN_COLUMNS):
            return None
        if len(fields) != len(RUN_COLUMNS):
            fail_columns(fields, RUN_COLUMNS, self.path, number)
        return fields[0], fields[2], score_of(fields[4], self.path, number)


class _Ranks(_Trec):
    """Query, document and rank; no two documents of a query share a rank, as they would in judgments."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._qid, self._seen = "", dict[str, str]()

    def __call__(self, line: str, number: int) -> tuple[str, str, float]:
        fields = columns(line)
        if len(fields) != 3 or not fields[2].isdecimal() or not int(fields[2][:9]):
            fail(self.path, number, f"{line.strip()[:60]!r} is not a query, a document and a rank from 1")
        qid, docid, rank = fields
        if qid != self._qid:
            self._qid, self._seen = qid, {}
        if self._seen.setdefault(rank, docid) != docid:
            what = f"query {qid!r} has two documents of rank {rank}"
            fail(self.path, number, what, "judgments go to --qrels; a run with scores has six columns")
        return qid, docid, 1 / int(rank[:9])


class _Texts(_Trec):
    """Query, document and their texts."""

    def __call__(self, line: str, number: int) -> tuple[str, str, float]:
        cells = line.split("\t")
        if len(cells) != 4:
            fail(self.path, number, f"{len(cells)} tab-separated columns, expected 4: qid docid query text")
        return cells[0].strip(), cells[1].strip(), 0.0


def score_of(text: str, path: str | Path, number: int) -> float:
    """The score in a text, rounded to the nearest float32; DataError if it is none."""
    if not NUMBER.fullmatch(text):
        fail(path, number, f"the score {text[:40]!r} is not a finite decimal number")
    try:
        (score,) = _FLOAT32.unpack(_FLOAT32.pack(float(text)))
    except OverflowError:
        score = math.inf
    if math.isinf(score):  # pack raises nothing for what float() has made infinite
        fail(path, number, f"the score {text[:40]!r} is out of the range of float32")
    return float(score)
