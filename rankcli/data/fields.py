"""The columns of judgments and runs: their names, headers, comments, and the errors about them."""

from __future__ import annotations

import operator
import re
from pathlib import Path
from typing import NoReturn

from rankcli.data.lines import fail

QRELS_COLUMNS = ("qid", "iteration", "docid", "grade")
RUN_COLUMNS = ("qid", "Q0", "docid", "rank", "score", "tag")
BEIR_HEADER = ["query-id", "corpus-id", "score"]
HEADERS = (("query-id", "query_id", "qid"), ("corpus-id", "doc_id", "docid", "pid"), ("score", "relevance", "grade"))
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_REMEDIES = {
    (3, QRELS_COLUMNS): f"for query, document and grade, put the header of BEIR in front: {' '.join(BEIR_HEADER)}",
    (3, RUN_COLUMNS): (
        "for query, document and rank, as in MS MARCO, make scores of the ranks: "
        'awk \'{print $1, "Q0", $2, $3, 1/$3, "run"}\' OLD > NEW'
    ),
}


def columns(line: str) -> list[str]:
    """The fields of a line, separated by spaces and tabs."""
    return [field for field in line.replace("\t", " ").split(" ") if field]


def is_header(fields: list[str]) -> bool:
    """True for the header of BEIR's judgments, with these or other usual names."""
    return len(fields) == len(HEADERS) and all(map(operator.contains, HEADERS, fields))


def is_comment(fields: list[str], names: tuple[str, ...]) -> bool:
    """True for a line that trec_eval 10 skips, unless it can be a line of a query whose id starts with `#`."""
    if not fields[0].startswith("#"):
        return False
    return len(fields) != len(names) or not NUMBER.fullmatch(fields[-1 if "grade" in names else -2])


def fail_columns(fields: list[str], names: tuple[str, ...], path: str | Path, number: int) -> NoReturn:
    """Raise the DataError of a line with a wrong number of columns."""
    fix = _REMEDIES.get((len(fields), names), f"write lines of: {' '.join(names)}")
    fail(path, number, f"{len(fields)} columns, expected {len(names)}: {' '.join(names)}", fix)
