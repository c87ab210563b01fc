"""The formats of files of documents and queries: their detection and their readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from rankcli.data.lines import MAX_TEXT_LINE, Notes, Row, fail, read_lines
from rankcli.data.sgml import read_topics, read_trec_docs
from rankcli.data.tables import is_table
from rankcli.data.texts import read_jsonl, read_table, read_tsv
from rankcli.data.trec import REPEATED
from rankcli.errors import ConfigError

Format = Literal["jsonl", "tsv", "trec", "parquet"]
Reader = Callable[[str | Path], Iterator[Row]]

DOCUMENT_READERS: dict[Format, Reader] = {
    "jsonl": read_jsonl,
    "tsv": read_tsv,
    "trec": read_trec_docs,
    "parquet": read_table,
}
QUERY_READERS: dict[Format, Reader] = {"jsonl": read_jsonl, "tsv": read_tsv, "parquet": read_table}


def detect(path: str | Path) -> Format:
    """The format of a file, from its first line that is not blank; ConfigError for a pipe, DataError if unknown."""
    if Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir():
        raise ConfigError(
            "the format of a pipe cannot be seen before it is read", where=str(path), fix="say it with `format`"
        )
    if is_table(path):
        return "parquet"
    for number, line in read_lines(path, MAX_TEXT_LINE):
        start = line.lstrip()
        if start:
            return _format_of(start, line, path, number)
    fail(path, 1, "the file is empty")


def read_queries(path: str | Path, format: Format | None = None, fields: Sequence[str] = ()) -> dict[str, str]:
    """Query texts by id, in file order; of TREC topics the chosen `fields`. The same id with another text is a
    DataError, with the same one a warning.
    """
    queries: dict[str, str] = {}
    notes = Notes(path)
    for line, qid, text, _ in _query_rows(path, format or detect(path), fields):
        if qid not in queries:
            queries[qid] = text
            if not text:
                notes.add("empty queries", line)
        elif queries[qid] == text:
            notes.add(REPEATED, line)
        else:
            fail(path, line, f"query {qid!r} is there twice, with different texts", "keep one of them")
    notes.warn()
    return queries


def _query_rows(path: str | Path, format: Format, fields: Sequence[str]) -> Iterator[Row]:
    if format == "trec":
        return read_topics(path, fields)
    if fields:
        raise ConfigError("`topics` chooses fields of TREC topics, and this file is none", where=str(path))
    return QUERY_READERS[format](path)


def _format_of(start: str, line: str, path: str | Path, number: int) -> Format:
    if start.startswith("{"):
        return "jsonl"
    if start.startswith("<"):
        return "trec"
    if "\t" in line:
        return "tsv"
    if start.startswith("["):
        fix = "write one object a line: jq -c '.[]' FILE > NEW"
        fail(path, number, "this is a JSON array, not JSONL", fix)
    fail(path, number, f"neither JSONL, TSV nor TREC: {start[:40]!r}", "say which with `format` if it is one of them")
