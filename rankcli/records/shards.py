"""The second half of a conversion: the shards, each written by one process from the mapped files of the first half."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rankcli.extractors._base import Extractor
from rankcli.records.codec import encode, token_dtype
from rankcli.records.flat import Flat
from rankcli.records.manifest import Shard
from rankcli.records.tfrecord import write_records
from rankcli.records.tokens import Tools
from rankcli.shapes import Example


class WrittenShard(NamedTuple):
    """A shard, its documents (places, not different ones), and their tokens before and after they were cut."""

    shard: Shard
    documents: int
    tokens_total: int
    tokens_kept: int


def write_shard(tools: Tools, task: tuple[Path, range]) -> WrittenShard:
    """Write the samples of a range to a path; a task of a conversion process."""
    path, samples = task
    maker = _ExampleMaker(tools.build, tools.extractor)
    dtype = token_dtype(tools.extractor.vocab_size)
    written = write_records(path, (encode(example, dtype) for example in maker.examples(samples)))
    shard = Shard(name=path.name, samples=written.records, bytes=written.bytes, crc32c=written.crc32c)
    return WrittenShard(shard, maker.documents, maker.tokens_total, maker.tokens_kept)


class _ExampleMaker:
    """Puts examples together from the build folder, and counts their documents' tokens."""

    def __init__(self, build: Path, extractor: Extractor) -> None:
        dtype = token_dtype(extractor.vocab_size)
        self._extractor = extractor
        self._groups, self._labels = Flat(build / "groups", np.int64), Flat(build / "labels", np.float32)
        self._qids, self._docids = Flat(build / "qids", np.uint8), Flat(build / "docids", np.uint8)
        self._queries, self._docs = Flat(build / "query", dtype), Flat(build / "doc", dtype)
        self._lengths = Flat(build / "doc.lengths", np.int64).values
        self.documents = self.tokens_total = self.tokens_kept = 0

    def examples(self, samples: range) -> Iterator[Example]:
        return (self._example(n) for n in samples)

    def _example(self, n: int) -> Example:
        number, *documents = self._groups[n].tolist()
        query, labels = self._queries[number], self._labels[n]
        budget = self._extractor.doc_budget(len(query))
        docs = tuple(self._docs[document][:budget] for document in documents)
        self.documents += len(docs)
        self.tokens_total += sum(int(self._lengths[document]) for document in documents)
        self.tokens_kept += sum(map(len, docs))
        return Example(
            qid=self._qids[number].tobytes().decode(),
            docids=tuple(self._docids[document].tobytes().decode() for document in documents),
            query=query,
            docs=docs,
            labels=labels,
            weights=np.ones(len(labels), np.float32),
        )
