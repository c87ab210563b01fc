"""The lines of run files: TREC's six columns, MS MARCO's three with a rank, and its candidates with their texts."""

from __future__ import annotations

import functools
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
    if parse:
        parse.finish()


@functools.lru_cache(maxsize=1024)
def _once(tell: Callable[[str], None], message: str) -> None:
    """Print a message once, however often the run is read."""
    tell(message)


def _format_of(line: str, path: str | Path) -> _Trec | None:
    """The parser for the first line and all that follow; None for a comment."""
    fields, cells = columns(line), line.split("\t")
    if is_comment(fields, RUN_COLUMNS):
        return None
    if len(fields) == 3 and fields[2].isdecimal():
        _once(say, f"{path}: 3 columns, read as query, document and rank; the score is 1 / rank")
        return _Ranks(path)
    if len(cells) == 4 and not cells[3].strip().isdecimal():
        _once(warn, f"{path}: candidates with their texts, without scores or ranks: they are in order of ids")
        return _Texts(path)
    return _Trec(path)


class _Order:
    """Counts queries whose ranks contradict their scores: a later rank has a higher score, or all ranks have one."""

    def __init__(self) -> None:
        self._qid, self._rank, self._score = "", 0.0, 0.0
        self.queries = self._rising = self._several = self._alike = 0
        self._rises = self._differ = self._more = False

    def add(self, qid: str, rank: float, score: float) -> None:
        """Compare a line with the one before it."""
        if qid != self._qid:
            self.contradicting()
            self._qid, self.queries = qid, self.queries + 1
        else:
            self._rises |= (rank - self._rank) * (score - self._score) > 0
            self._differ |= score != self._score
            self._more |= rank != self._rank
        self._rank, self._score = rank, score

    def contradicting(self) -> int:
        """End the last query, and return how many contradict themselves. Equal scores count if all have them."""
        self._rising += self._rises
        self._several += self._more
        self._alike += self._more and not self._differ
        self._rises = self._differ = self._more = False
        return self._rising + (self._alike if self._alike == self._several else 0)


class _Trec:
    """TREC's columns. The score decides; where ranks contradict it, a warning says so, since one of both is wrong."""

    def __init__(self, path: str | Path) -> None:
        self.path, self._order = path, _Order()

    def __call__(self, line: str, number: int) -> tuple[str, str, float] | None:
        fields = columns(line)
        if is_comment(fields, RUN_COLUMNS):
            return None
        if len(fields) != len(RUN_COLUMNS):
            fail_columns(fields, RUN_COLUMNS, self.path, number)
        score = score_of(fields[4], self.path, number)
        if NUMBER.fullmatch(fields[3]):
            self._order.add(fields[0], float(fields[3]), score)
        return fields[0], fields[2], score

    def finish(self) -> None:
        """Warn of ranks that contradict the scores."""
        if found := self._order.contradicting():
            _once(
                warn,
                f"{self.path}: ranks and scores disagree in {found} of {self._order.queries} queries; scores decide",
            )


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
