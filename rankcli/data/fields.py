"""The columns of judgments and runs: their names, headers, comments, and the errors about them."""

from __future__ import annotations

import operator
import re
from pathlib import Path
from typing import NoReturn

from rankcli.data.lines import fail

QRELS_COLUMNS: tuple[str, ...] = ("qid", "iteration", "docid", "grade")
BEIR_COLUMNS = ("qid", "docid", "grade")
RUN_COLUMNS: tuple[str, ...] = ("qid", "Q0", "docid", "rank", "score", "tag")
BEIR_HEADER = ["query-id", "corpus-id", "score"]
HEADERS = (
    {"query-id", "query_id", "queryid", "qid", "query", "topic", "topic_id", "q_id"},
    {"corpus-id", "corpus_id", "doc_id", "doc-id", "docid", "docno", "pid", "passage_id", "document_id", "doc"},
    {"score", "relevance", "grade", "rel", "label", "judgment", "judgement", "qrel", "rating"},
)
_UNUSED = {"iteration", "iter", "q0", "0", "unused"}
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_REMEDIES = {
    (3, QRELS_COLUMNS): f"for query, document and grade, put the header of BEIR in front: {' '.join(BEIR_HEADER)}",
    (3, RUN_COLUMNS): "a run of three columns has query, document and rank, a whole number",
    (4, RUN_COLUMNS): "judgments go to --qrels",
}


def columns(line: str) -> list[str]:
    """The fields of a line, separated by spaces and tabs."""
    return [field for field in line.replace("\t", " ").split(" ") if field]


def is_header(fields: list[str]) -> bool:
    """True for the header of judgments: BEIR's three columns or TREC's four, with these or other usual names."""
    names = [field.lower() for field in fields]
    if len(names) == 4 and names.pop(1) not in _UNUSED:
        return False
    return len(names) == len(HEADERS) and all(map(operator.contains, HEADERS, names))


def is_comment(fields: list[str], names: tuple[str, ...]) -> bool:
    """True for a line that trec_eval 10 skips, unless it can be a line of a query whose id starts with `#`."""
    if not fields[0].startswith("#"):
        return False
    return len(fields) != len(names) or not NUMBER.fullmatch(fields[-1 if "grade" in names else -2])


def fail_columns(fields: list[str], names: tuple[str, ...], path: str | Path, number: int) -> NoReturn:
    """Raise the DataError of a line with a wrong number of columns."""
    fix = _REMEDIES.get((len(fields), names), f"write lines of: {' '.join(names)}")
    fail(path, number, f"{len(fields)} columns, expected {len(names)}: {' '.join(names)}", fix)
