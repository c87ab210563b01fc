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
from rankcli.records.convert import ConversionJob, convert
from rankcli.records.interleave import Records
from rankcli.records.manifest import Shard
from rankcli.records.shards import write_shard
from rankcli.records.stripes import Range
from rankcli.records.tokens import Tools
from rankcli.shapes import Encoded, Example, FieldSpec, Sample, TokenSequence
from rankcli.storage.local import LocalStorage

CLS, SEP, QUERY_KEPT, DOC_KEPT, PAIR_LENGTH = 1, 2, 4, 40, 30


def token(word: str) -> int:
    return 3 + sum(word.encode()) % 900


@dataclass
class WordExtractor:
    """A word is a token; `pair` is [1] query [2] part [2] for each `passage` tokens of a document."""

    passage: int = DOC_KEPT
    vocab_size: int = 1000
    pad_id: int = 0
    fingerprint: str = "words"
    idf: None = None
    seen: list[str] = field(default_factory=list)
    fields: Mapping[str, FieldSpec] = field(
        default_factory=lambda: {"pair": FieldSpec("doc", PAIR_LENGTH), "query": FieldSpec("query", QUERY_KEPT)}
    )

    def encode(self, level: str, texts: Sequence[str]) -> Encoded:
        assert multiprocessing.parent_process() is None or "tensorflow" not in sys.modules
        self.seen += texts
        words = [text.split() for text in texts]
        kept = QUERY_KEPT if level == "query" else DOC_KEPT
        return Encoded([np.array([token(w) for w in each[:kept]], np.int64) for each in words], [len(w) for w in words])

    def doc_budget(self, query_tokens: int) -> int:
        return PAIR_LENGTH - 3 - query_tokens

    def sequences(self, example: Example) -> dict[str, list[TokenSequence]]:
        pairs = []
        for k, doc in enumerate(example.docs):
            for start in range(0, max(len(doc), 1), self.passage):
                part = doc[start : start + self.passage]
                ids = np.concatenate([[CLS], example.query, [SEP], part, [SEP]])
                segments = np.array([0] * (len(example.query) + 2) + [1] * (len(part) + 1))
                pairs.append(TokenSequence(ids, segments, k))
        return {"pair": pairs, "query": [TokenSequence(example.query, np.zeros(len(example.query), np.int64))]}

    def save(self, directory: Path) -> None:
        raise AssertionError("a conversion saves no extractor")


@dataclass(frozen=True)
class Store:
    """Document n has n % 37 + 1 words; `d5` has none."""

    def texts(self, docids: Sequence[str]) -> list[str]:
        return [document(docid) for docid in docids]


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
        "queries": QUERIES,
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
    return Example(sample.qid, sample.docids, query, docs, labels, np.ones_like(labels))


def end_at(state: int, task: int) -> int:
    """A task of a worker that ends its process where task and state are equal."""
    if task == state:
        os._exit(9)
    return task


def same(one: Example, other: Example) -> bool:
    arrays = ("query", "labels", "weights")
    return (
        (one.qid, one.docids) == (other.qid, other.docids)
        and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
        and len(one.docs) == len(other.docs)
        and all(map(np.array_equal, one.docs, other.docs))
        and (one.teacher_scores is None) == (other.teacher_scores is None)
        and (one.teacher_scores is None or np.array_equal(one.teacher_scores, other.teacher_scores))
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
