"""Queries and judgments of files or of `ir_datasets:ID`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rankcli.data import formats, irds
from rankcli.data.lines import start_of
from rankcli.data.tables import is_table
from rankcli.data.tables import read_records as table_records
from rankcli.data.texts import json_records
from rankcli.data.trec import Qrels, read_judged, read_qrels
from rankcli.errors import DataError

Sources = str | Sequence[str] | Mapping[str, str | Sequence[str]]  # one or several; names of parts are not used


def places(source: Sources) -> tuple[str, ...]:
    """The files that an option names."""
    if isinstance(source, str):
        return (source,)
    each = source.values() if isinstance(source, Mapping) else source
    return tuple(path for child in each for path in places(child))


def read_topics(source: Sources, format: formats.Format | None = None, fields: Sequence[str] = ()) -> dict[str, str]:
    """The queries by id; of topics with several fields the chosen ones."""
    found: dict[str, str] = {}
    for path in places(source):
        queries = irds.read_queries(path, fields) if irds.named(path) else formats.read_queries(path, format, fields)
        for qid in found.keys() & queries.keys():
            if found[qid] != queries[qid]:
                raise DataError(
                    f"query {qid!r} has another text than in an earlier file", where=path, fix="keep one of them"
                )
        found |= queries
    return found


def read_judgments(source: Sources) -> Qrels:
    """The judgments: grades by query and document id."""
    found: Qrels = {}
    for path in places(source):
        qrels = irds.read_qrels(path) if irds.named(path) else _qrels_in(path)
        for qid, grades in qrels.items():
            _add(found.setdefault(qid, {}), qid, grades, path)
    return found


def _qrels_in(path: str) -> Qrels:
    """The judgments of a file: lines, or records in JSONL or a table."""
    if is_table(path):
        return read_judged(table_records(path), path)
    return read_judged(json_records(path), path) if start_of(path).startswith(b"{") else read_qrels(path)


def _add(known: dict[str, int], qid: str, grades: Mapping[str, int], path: str) -> None:
    for docid, grade in grades.items():
        if known.setdefault(docid, grade) != grade:
            what = f"query {qid!r} has document {docid!r} with grade {grade}, but {known[docid]} in an earlier file"
            raise DataError(what, where=path, fix="keep one of them")
