"""Judgments (qrels) and runs in TREC's columns, and qrels in BEIR's.

A run's rank column is not used: trec_eval orders by score, compared as float32, and breaks ties by id, descending.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO, TypeVar

import numpy as np

from rankcli.data.files import replacing
from rankcli.data.lines import Notes, checked_id, fail, read_rows
from rankcli.errors import DataError

Qrels = dict[str, dict[str, int]]
Run = dict[str, dict[str, float]]
Value = TypeVar("Value", int, float)

BEIR_HEADER = ["query-id", "corpus-id", "score"]
REPEATED = "repeated lines ignored"

_COLUMN = re.compile(r"[^ \t]+")
_INTEGER = re.compile(r"[+-]?[0-9]{1,9}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_FLOAT32 = struct.Struct("<f")


def read_qrels(path: str | Path) -> Qrels:
    """Grades by query and document id.

    TREC: `qid iteration docid grade`, the iteration unused. BEIR: a header `query-id corpus-id score`, then those.
    """
    qrels: Qrels = {}
    notes, beir = Notes(path), False
    for number, line in read_rows(path):
        fields = columns(line)
        if not qrels and not beir and fields == BEIR_HEADER:
            beir = True
            continue
        _expect(fields, ["qid", "docid", "grade"] if beir else ["qid", "iteration", "docid", "grade"], path, number)
        qid, docid = (
            checked_id(fields[0], path, number, "query id"),
            checked_id(fields[-2], path, number, "document id"),
        )
        _keep(qrels, qid, docid, _grade(fields[-1], path, number), path, number, notes)
    if not qrels:
        fail(path, 2, "there is no judgment below the header")
    notes.warn()
    return qrels


def read_run(path: str | Path) -> Run:
    """Scores by query and document id, from `qid Q0 docid rank score tag`, each rounded to the nearest float32."""
    run: Run = {}
    notes = Notes(path)
    for number, line in read_rows(path):
        fields = columns(line)
        _expect(fields, ["qid", "Q0", "docid", "rank", "score", "tag"], path, number)
        qid, docid = checked_id(fields[0], path, number, "query id"), checked_id(fields[2], path, number, "document id")
        _keep(run, qid, docid, _score(fields[4], path, number), path, number, notes)
    notes.warn()
    return run


def write_run(target: str | Path | TextIO, run: Mapping[str, Mapping[str, float]], tag: str = "rankcli") -> None:
    """Write a run in TREC's columns, queries by id, ranks from 1, each score as the shortest text of its float32.

    A path is written whole or not at all. Ids or scores that `read_run` would refuse are a DataError.
    """
    if isinstance(target, (str, Path)):
        with replacing(target) as stream:
            write_run(stream, run, tag)
        return
    checked_id(tag, "run", 1, "tag")
    for qid in sorted(run):
        checked_id(qid, "run", 1, "query id")
        for rank, docid in enumerate(ranking(run[qid]), 1):
            checked_id(docid, "run", rank, "document id")
            target.write(f"{qid} Q0 {docid} {rank} {np.float32(run[qid][docid])!s} {tag}\n")


def ranking(scores: Mapping[str, float]) -> tuple[str, ...]:
    """The document ids in trec_eval's order: float32 scores descending, ties by id descending."""
    with np.errstate(over="ignore"):
        rounded = np.array(list(scores.values()), dtype=np.float32)
    if not np.isfinite(rounded).all():
        bad = list(scores)[int(np.flatnonzero(~np.isfinite(rounded))[0])]
        raise DataError(f"the score of document {bad!r} is {scores[bad]}, not a finite float32")
    # Python compares strings by code point, which is the order of their UTF-8 bytes, as strcmp sees them.
    return tuple(docid for _, docid in sorted(zip(rounded.tolist(), scores, strict=True), reverse=True))


def columns(line: str) -> list[str]:
    """What stands between spaces and tabs."""
    return _COLUMN.findall(line)


def _expect(fields: list[str], names: list[str], path: str | Path, number: int) -> None:
    if len(fields) != len(names):
        fail(path, number, f"{len(fields)} columns, expected {len(names)}: {' '.join(names)}")


def _keep(
    table: dict[str, dict[str, Value]], qid: str, docid: str, value: Value, path: str | Path, number: int, notes: Notes
) -> None:
    documents = table.setdefault(qid, {})
    if docid not in documents:
        documents[docid] = value
    elif documents[docid] == value:
        notes.add(REPEATED, number)
    else:
        known = documents[docid]
        fail(
            path,
            number,
            f"query {qid!r} has document {docid!r} twice, with {known} and now with {value}",
            "keep one of them",
        )


def _grade(text: str, path: str | Path, number: int) -> int:
    if not _INTEGER.fullmatch(text):
        fail(path, number, f"the grade {text[:40]!r} is not an integer")
    return int(text)


def _score(text: str, path: str | Path, number: int) -> float:
    if not _NUMBER.fullmatch(text):
        fail(path, number, f"the score {text[:40]!r} is not a finite decimal number")
    try:
        return float(_FLOAT32.unpack(_FLOAT32.pack(float(text)))[0])
    except OverflowError:
        fail(path, number, f"the score {text[:40]!r} is out of the range of float32")
