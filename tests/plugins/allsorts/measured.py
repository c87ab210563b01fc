"""A collection in files whose documents have features for every query."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rankcli.api import (
    DatasetOptions,
    Floats,
    Source,
    SourceContext,
    open_store,
    option,
    read_judgments,
    read_topics,
)


class Checksums:
    """Three numbers from 0 to 1 for a query and a document: a stand-in for a search engine's features."""

    width = 3

    def features(self, qid: str, docids: tuple[str, ...]) -> Floats:
        rows = [[zlib.crc32(f"{qid} {docid} {n}".encode()) / 2**32 for n in range(3)] for docid in docids]
        return np.array(rows, np.float32).reshape(len(docids), 3)


@dataclass(frozen=True, kw_only=True)
class Measured(DatasetOptions):
    """Documents, queries and judgments in files, and features made on the spot."""

    version: ClassVar[int] = 1
    gives: ClassVar[tuple[str, ...]] = ("features",)
    docs: str = option(help="documents", path="file")
    queries: str = option(help="queries", path="file")
    qrels: str = option(help="judgments", path="file")

    def build(self, ctx: SourceContext) -> Source:
        docs = open_store(self.docs, None, ctx.scratch)
        return Source(
            name=self.docs,
            queries=read_topics(self.queries, None),
            qrels={"": read_judgments(self.qrels)},
            docs=docs,
            features=Checksums(),
            fingerprint=f"{docs.fingerprint} checksums",
        )
