"""Collections of the package ir_datasets, written `ir_datasets:ID`; the package downloads what it needs."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterator, Sequence
from typing import Any

from rankcli.data.lines import Row, checked_id, checked_text, fail
from rankcli.data.trec import Qrels, checked_grade
from rankcli.errors import ConfigError, MissingError

PREFIX = "ir_datasets:"
_LONG_NAMES = {"title": ("query", "text"), "desc": ("description",), "narr": ("narrative",)}


def package_version() -> str:
    """The version of ir_datasets; MissingError without it."""
    _package()
    return importlib.metadata.version("ir_datasets")


def named(source: str) -> bool:
    """True if `source` is `ir_datasets:ID`."""
    return source.startswith(PREFIX)


def read_docs(name: str) -> Iterator[Row]:
    """The documents: ir_datasets' default text of each, else its text fields joined by spaces."""
    for n, doc in enumerate(_load(name, "docs").docs_iter(), 1):
        text, title = checked_text(_text(doc), name, n), str(getattr(doc, "title", "")).strip()
        yield Row(n, checked_id(doc.doc_id, name, n), text, len(title) if text.startswith(title) else 0)


def read_queries(name: str, fields: Sequence[str] = ()) -> dict[str, str]:
    """The queries: ir_datasets' default text of each, which is its shortest form (a topic's title), or its `fields`."""
    queries = {}
    for n, query in enumerate(_load(name, "queries").queries_iter(), 1):
        queries[checked_id(query.query_id, name, n)] = checked_text(_chosen(query, fields, name), name, n)
    return queries


def read_qrels(name: str) -> Qrels:
    """The judgments: grades by query and document id."""
    qrels: Qrels = {}
    for n, judgment in enumerate(_load(name, "qrels").qrels_iter(), 1):
        grades = qrels.setdefault(checked_id(judgment.query_id, name, n), {})
        grade = checked_grade(judgment.relevance, name, n)
        if grades.setdefault(checked_id(judgment.doc_id, name, n), grade) != grade:
            fail(name, n, f"query {judgment.query_id!r} has document {judgment.doc_id!r} twice, with different grades")
    return qrels


def _package() -> Any:
    try:
        return importlib.import_module("ir_datasets")
    except ImportError as error:
        raise MissingError(
            "the package ir_datasets is not installed", where=PREFIX, fix="pip install 'ir_datasets>=0.5.6'"
        ) from error


def _load(name: str, part: str) -> Any:
    try:
        dataset = _package().load(name.removeprefix(PREFIX))
    except KeyError as error:
        raise ConfigError(
            "ir_datasets has no data set of this name", where=name, fix="see https://ir-datasets.com"
        ) from error
    if not getattr(dataset, f"has_{part}")():
        raise ConfigError(
            f"this data set of ir_datasets has no {part}", where=name, fix=f"name a subset that has {part}, or a file"
        )
    return dataset


def _chosen(query: Any, fields: Sequence[str], name: str) -> str:
    """The text of a query, or of its chosen fields, joined by spaces."""
    if not fields:
        return _text(query)
    there = {key: value for key, value in query._asdict().items() if isinstance(value, str)}
    found = [next((key for key in (field, *_LONG_NAMES.get(field, ())) if key in there), "") for field in fields]
    if "" in found:
        missing = fields[found.index("")]
        fix = f"choose from: {', '.join(key for key in there if key != 'query_id')}"
        raise ConfigError(f"the queries have no {missing}", where=name, fix=fix)
    return " ".join(there[key] for key in found).strip()


def _text(record: Any) -> str:
    if hasattr(record, "default_text"):
        return str(record.default_text()).strip()
    fields = [
        value for key, value in record._asdict().items() if key not in ("doc_id", "query_id") and isinstance(value, str)
    ]
    return " ".join(fields).strip()
