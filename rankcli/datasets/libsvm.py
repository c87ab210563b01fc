"""Learning to rank on features in files of LibSVM's format."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from rankcli.config.registry import DATASETS, option
from rankcli.config.types import PositiveInt
from rankcli.data.features import FeatureRow, table_from
from rankcli.data.files import exists
from rankcli.data.hashes import input_sha256
from rankcli.data.lines import checked_id, fail, read_rows
from rankcli.data.source import Source, SourceContext
from rankcli.data.trec import MAX_GRADE
from rankcli.datasets._parts import PATH_HELP, check_parts, parts_of
from rankcli.datasets._scores import ScoredOptions, checked_scores
from rankcli.errors import ConfigError
from rankcli.shapes import LARGEST

SIDE = ".query"  # the end of the name of LightGBM's file with the rows of each query
MOST = 1 << 20  # the greatest number of a feature
_GRADE = re.compile(r"([+-]?[0-9]+)(?:\.0*)?")
_FEATURE = re.compile(
    r"([0-9]{1,18}):([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?i:nan|inf|infinity))"
)


@dataclass(frozen=True)
class _File:
    part: str
    path: str
    side: str  # empty where lines name their query


@DATASETS.register("libsvm")
@dataclass(frozen=True, kw_only=True)
class LibSVM(ScoredOptions):
    """Lines `grade qid:QUERY 1:0.5 7:2 ... # comment`, as of SVMrank, LETOR and MSLR-WEB; features are counted from 1.

    Lines without `qid:` need LightGBM's file FILE.query beside FILE, with the number of rows of each query; the ids of
    queries are then their numbers, after the name of the part if there are parts. Document n of a query has the id
    `QUERY.n`. There are no texts. The files are read once (twice without `width`), in flat memory, and then cached.
    """

    version: ClassVar[int] = 1
    gives: ClassVar[tuple[str, ...]] = ("features",)
    path: str | dict[str, str] = option(help=PATH_HELP, path="file")
    width: PositiveInt | None = option(None, "number of features; default: the greatest number of one in the files")
    missing: float = option(0.0, "value of a feature that a line does not name")

    def __post_init__(self) -> None:
        check_parts(self.path)

    def build(self, ctx: SourceContext) -> Source:
        """Read the files, or their cached table."""
        files = [_File(part, path, _side(path)) for part, path in parts_of(self.path).items()]
        name = ", ".join(file.path for file in files)
        read = [(file.part, [input_sha256(path) for path in (file.path, file.side) if path]) for file in files]
        rows = f"libsvm:{self.version}:{read}"
        table = table_from(
            self.named(rows),
            lambda: self.joined(self._rows(files)),
            self.width and self.width + bool(self.scores),
            self.missing,
            name,
            ctx.scratch,
        )
        return Source(
            name=name, queries=table.queries, qrels=table.qrels, features=table, fingerprint=table.fingerprint
        )

    def at(self, path: str, width: int | None, scores: str | None = None) -> LibSVM:
        """Return the options for another file."""
        own = width and width - bool(self.scores)
        return replace(self, path=path, width=self.width or own, scores=checked_scores(self, path, width, scores))

    def _rows(self, files: list[_File]) -> Iterator[FeatureRow]:
        seen: dict[str, str] = {}
        for file in files:
            last = None
            for number, qid, row in self._of_file(file):
                if qid != last and qid in seen:
                    what = f"query {qid!r} has lines in another place, too: {seen[qid]}"
                    fail(file.path, number, what, "put the lines of a query together, in one file")
                if qid != last:
                    seen[qid], last = f"{file.path}:{number}", qid
                yield row

    def _of_file(self, file: _File) -> Iterator[tuple[int, str, FeatureRow]]:
        """Line number, query and row of each line."""
        numbered = _numbered(file) if file.side else None
        for number, (grade, *pairs) in _lines(file.path):
            if numbered is None:
                qid = _qid(pairs[0] if pairs else "", file.path, number)
                del pairs[0]
            else:
                qid = _next(numbered, file, number)
            columns, values = self._features(pairs, file.path, number)
            yield number, qid, FeatureRow(file.part, qid, _grade(grade, file.path, number), columns, values)
        if numbered is not None and next(numbered, None) is not None:
            fail(file.side, 1, f"it counts more rows than {file.path} has lines", "take the file that belongs to it")

    def _features(self, pairs: list[str], path: str, line: int) -> tuple[list[int], list[float]]:
        columns, values = [], []
        for pair in pairs:
            column, value = _feature(pair, path, line)
            if self.width is not None and column >= self.width:
                fail(path, line, f"feature {column + 1} is above width ({self.width})", "raise data.source.width")
            columns.append(column)
            values.append(value)
        if len({*columns}) < len(columns):
            twice = next(column for n, column in enumerate(columns) if column in columns[:n])
            fail(path, line, f"feature {twice + 1} is there twice", "keep one of them")
        return columns, values


def _lines(path: str) -> Iterator[tuple[int, list[str]]]:
    """Number and columns of each line, without its comment; a line may be a comment alone."""
    rows = 0
    for number, line in read_rows(path):
        if columns := line.partition("#")[0].split():
            rows += 1
            yield number, columns
    if not rows:
        fail(path, 1, "the file has nothing but comments")


def _side(path: str) -> str:
    """The file of rows per query, where the lines of `path` do not name their query."""
    _, columns = next(_lines(path))
    if any(column.startswith("qid:") for column in columns[1:2]):
        return ""
    side = path + SIDE
    if not exists(side):
        raise ConfigError(
            "lines have no `qid:`, and there is no such file with the number of rows of each query", where=side
        )
    return side


def _numbered(file: _File) -> Iterator[str]:
    """The number of the query of each row."""
    for number, line in read_rows(file.side):
        if not (line.strip().isascii() and line.strip().isdecimal()):
            fail(file.side, number, f"{line.strip()[:40]!r} is not a number of rows")
        for _ in range(int(line)):
            yield f"{file.part}{number}"


def _next(numbered: Iterator[str], file: _File, line: int) -> str:
    qid = next(numbered, None)
    if qid is None:
        fail(file.path, line, f"{file.side} counts fewer rows", "take the file that belongs to it")
    return qid


def _qid(pair: str, path: str, line: int) -> str:
    key, _, qid = pair.partition(":")
    if key != "qid":
        fail(path, line, f"{pair[:40]!r} follows the grade, expected qid:QUERY")
    return checked_id(qid, path, line, "query id")


def _grade(text: str, path: str, line: int) -> int:
    found = _GRADE.fullmatch(text)
    if not found or abs(int(found[1][:9])) > MAX_GRADE:
        fail(path, line, f"the grade {text[:40]!r} is not an integer from -{MAX_GRADE} to {MAX_GRADE}")
    return int(found[1])


def _feature(pair: str, path: str, line: int) -> tuple[int, float]:
    """The column, counted from 0, and the value of `number:value`."""
    match = _FEATURE.fullmatch(pair)
    if not match:
        fail(path, line, f"{pair[:40]!r} is not a feature, expected NUMBER:VALUE")
    column, found = int(match[1]), float(match[2])
    if not 1 <= column <= MOST:
        fail(path, line, f"feature {column} is out of 1 to {MOST:,}", "count features from 1")
    if not abs(found) <= LARGEST:
        fail(path, line, f"the value {match[2][:20]} of feature {column} is not a finite float32")
    return column - 1, found
