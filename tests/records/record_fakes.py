"""A collection, an extractor and conversions small enough to check by hand."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.records import convert as conversion
from rankcli.records.convert import convert
from rankcli.records.interleave import Records
from rankcli.records.manifest import Shard
from rankcli.records.shards import write_shard
from rankcli.records.steps import ConversionJob
from rankcli.records.stripes import Range
from rankcli.records.texts import InMemory
from rankcli.records.tokens import Tools
from rankcli.shapes import (
    Encoded,
    Example,
    FieldSpec,
    Floats,
    Record,
    Sample,
    SequenceSpec,
    StreamSpec,
    TokenSequence,
)
from rankcli.storage.local import LocalStorage

CLS, SEP, QUERY_KEPT, DOC_KEPT, PAIR_LENGTH = 1, 2, 4, 40, 30


def token(word: str) -> int:
    return 3 + sum(word.encode()) % 900


@dataclass
class WordExtractor:
    """A word is a token; `pair` is [1] query [2] part [2] for each `passage` tokens of a document."""

    passage: int = DOC_KEPT
    vocab_size: int = 1000
    fingerprint: str = "words"
    columns: tuple[str, ...] = ()
    tables: Mapping[str, Any] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    fields: Mapping[str, FieldSpec] = field(
        default_factory=lambda: {
            "pair": SequenceSpec("doc", "doc", PAIR_LENGTH, most=DOC_KEPT),
            "query": SequenceSpec("query", "query", QUERY_KEPT),
        }
    )

    @property
    def streams(self) -> Mapping[str, StreamSpec]:
        return {"query": StreamSpec("query", self.vocab_size), "doc": StreamSpec("doc", self.vocab_size)}

    def encode(self, stream: str, records: Sequence[Record]) -> Encoded:
        assert multiprocessing.parent_process() is None or "tensorflow" not in sys.modules
        self.seen += [record.text for record in records]
        words = [record.text.split() for record in records]
        kept = QUERY_KEPT if stream == "query" else DOC_KEPT
        return Encoded([np.array([token(w) for w in each[:kept]], np.int64) for each in words], [len(w) for w in words])

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        return PAIR_LENGTH - 3 - query_tokens["query"]

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        pairs, query = [], example.queries["query"]
        for k, doc in enumerate(example.docs["doc"]):
            for start in range(0, max(len(doc), 1), self.passage):
                part = doc[start : start + self.passage]
                ids = np.concatenate([[CLS], query, [SEP], part, [SEP]])
                segments = np.array([0] * (len(query) + 2) + [1] * (len(part) + 1))
                parts = np.array([0, *[1] * len(query), 0, *[2] * len(part), 0])
                pairs.append(TokenSequence(ids, segments, parts, k))
        return {"pair": pairs, "query": [TokenSequence(query, np.zeros_like(query), np.ones_like(query))]}

    def save(self, directory: Path) -> None:
        raise AssertionError("a conversion saves no extractor")


@dataclass(frozen=True)
class Store:
    """Document n has n % 37 + 1 words; `d5` has none."""

    def records(self, docids: Sequence[str]) -> list[Record]:
        return [Record(docid, document(docid)) for docid in docids]

    def ordinals(self, docids: Sequence[str]) -> Any:
        return np.array([1000 - int(docid[1:]) for docid in docids], np.int64)

    def ids_at(self, ordinals: Sequence[int]) -> list[str]:
        return [f"d{1000 - n}" for n in ordinals]

    def records_at(self, ordinals: Sequence[int]) -> list[Record]:
        return self.records(self.ids_at(ordinals))


def document(docid: str) -> str:
    number = int(docid[1:])
    return "" if number == 5 else " ".join(f"w{number}x{i}" for i in range(number % 37 + 1))


QUERIES = {f"q{i}": " ".join(f"ask{i}for{k}" for k in range(i % 6 + 1)) for i in range(50)}


@dataclass(frozen=True)
class Groups:
    """Sample n: query n % 50 and `size` documents from number 3n on, the first with label 1."""

    size: int = 3

    def __call__(self, n: int) -> Sample:
        docids = tuple(f"d{(3 * n + k) % 200}" for k in range(self.size))
        return Sample(f"q{n % 50}", docids, (1.0,) + (0.0,) * (self.size - 1))


def job(root: Path, **changes: Any) -> ConversionJob:
    given: dict[str, Any] = {
        "cache_id": "c0ffee",
        "identity": {"sampler": {"name": "groups"}, "seed": 1},
        "sampler": Groups(),
        "samples": 23,
        "extractor": WordExtractor(),
        "queries": InMemory(QUERIES),
        "docs": Store(),
        "storage": LocalStorage(root),
        "samples_per_shard": 2,
        "group_size": 3,
        "work": root / "tmp.work",
    }
    return ConversionJob(**{**given, **changes})


def converted(root: Path, **changes: Any) -> Records:
    return Records(convert(job(root, **changes)), LocalStorage(root))


def expected(n: int, sampler: Callable[[int], Sample] = Groups()) -> Example:
    """The example of sample n, put together in the plainest way."""
    sample = sampler(n)
    query = np.array([token(word) for word in QUERIES[sample.qid].split()][:QUERY_KEPT], np.int32)
    docs = tuple(
        np.array([token(word) for word in document(docid).split()][: PAIR_LENGTH - 3 - len(query)], np.int32)
        for docid in sample.docids
    )
    labels = np.array(sample.labels, np.float32)
    return Example(sample.qid, sample.docids, labels, {"query": query}, {"doc": docs})


def end_at(state: int, task: int) -> int:
    """A task of a worker that ends its process where task and state are equal."""
    if task == state:
        os._exit(9)
    return task


def same(one: Example, other: Example) -> bool:
    def arrays(example: Example) -> dict[str, list[Any]]:
        found = {f"query {name}": [ids] for name, ids in example.queries.items()}
        found |= {f"docs {name}": list(docs) for name, docs in example.docs.items()}
        return found | {f"column {name}": [values] for name, values in example.columns.items()}

    mine, theirs = arrays(one), arrays(other)
    return (
        (one.qid, one.docids) == (other.qid, other.docids)
        and np.array_equal(one.labels, other.labels)
        and {name: len(found) for name, found in mine.items()} == {name: len(found) for name, found in theirs.items()}
        and all(np.array_equal(a, b) for name, found in mine.items() for a, b in zip(found, theirs[name], strict=True))
    )


def tree(root: Path) -> dict[str, bytes]:
    """All files below `root` but locks, with their content."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.name not in ("lock", "hold"))
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


class Stopped(Exception):
    """Ends a conversion as whatever is no error of ours does."""


class Writer:
    """Stands in for `convert.write_shard`: notes the shards that are written, and stops after some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> None:
        self.written: list[str] = []
        self._stop_after = stop_after
        monkeypatch.setattr(conversion, "write_shard", self)

    def __call__(self, tools: Tools, shard: Range) -> Shard:
        if len(self.written) == self._stop_after:
            raise Stopped
        self.written.append(shard.name)
        return write_shard(tools, shard)


def inodes(folder: Path) -> dict[str, tuple[int, int]]:
    """Of every file directly in a folder what changes when it is written again: inode and time."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()}
