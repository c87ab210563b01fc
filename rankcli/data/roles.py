"""The role of a file in a collection: documents, queries, judgments, a run or triples.

It is seen from the file's name or its folder's (`queries.dev.tsv`, `qrels/test.tsv`), else from its first line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath
from typing import Any

from rankcli.data import archives
from rankcli.data.fields import HEADERS, columns, is_header
from rankcli.data.formats import detect
from rankcli.data.lines import MAX_TEXT_LINE, read_lines
from rankcli.data.tables import is_table, read_records
from rankcli.data.texts import json_records
from rankcli.errors import ConfigError, DataError

NONE = "none"  # nothing of a collection
_NAMES = {  # the first that fits counts: `msmarco-docdev-queries.tsv` holds queries
    NONE: r"^(cache-|readme|licen[cs]e|dataset_infos?\.|dataset_dict\.|state\.)|\.(md|py|html?|pdf|dtd|sh|ya?ml)$",
    "triples": r"triples",
    "qrels": r"qrels?",
    "run": r"top[0-9]+|\.run\b|^run[._-]|bm25",
    "queries": r"quer(y|ies)|topics",
    "docs": r"corpus|collection|\bdocs?[0-9]*\b|documents|passages",
}
_PART = re.compile(r"(?:(?<![a-z])|(?<=doc))(train|dev|val|test|eval)(?:idation|id)?(?:[0-9]{4})?(?![a-z])")
_SGML = re.compile(r"<(DOC|top|topics?)\b", re.IGNORECASE)


@dataclass(frozen=True)
class File:
    """A file with its role, and the part of the split that its name says, or an empty text."""

    path: str
    role: str
    part: str


def survey(place: str) -> list[File]:
    """Every file in a folder or archive, with its role."""
    files = [_named(place, path) for path in archives.files_in(place)]
    return [File(path, role or _of_content(path), part) for path, role, part in files]


def _named(place: str, path: str) -> tuple[str, str, str]:
    """The path, the role that its names say, those nearest to the file first, and the part."""
    names = PurePath(path).relative_to(place).parts
    role = next((role for name in reversed(names) if (role := _of_name(name.lower()))), "")
    parts = _PART.findall("/".join(names).lower())
    return path, role, {"val": "dev"}.get(parts[-1], parts[-1]) if parts else ""


def _of_name(name: str) -> str:
    return next((role for role, pattern in _NAMES.items() if re.search(pattern, name)), "")


def _of_content(path: str) -> str:
    """The role that the first lines show. Texts with ids are documents: only names tell queries."""
    try:
        if is_table(path):
            return "qrels" if _judges(next(read_records(path))[1]) else "docs"
        lines = [line for _, line in islice(read_lines(path, MAX_TEXT_LINE), 20) if line.strip()]
        if tags := _SGML.findall("\n".join(lines)):
            return "docs" if tags[0].lower() == "doc" else "queries"
        fields = columns(lines[0]) if lines else []
        if is_header(fields) or (len(fields) == 4 and "\t" not in lines[0].strip() and fields[-1].isdigit()):
            return "qrels"
        if detect(path) == "jsonl" and _judges(next(json_records(path))[1]):
            return "qrels"
    except (ConfigError, DataError):
        return NONE
    return "run" if len(fields) == 6 and fields[1] == "Q0" else "docs"


def _judges(record: dict[str, Any]) -> bool:
    """True if a record names a query, a document and a grade."""
    return all(not names.isdisjoint(map(str.lower, record)) for names in HEADERS)
