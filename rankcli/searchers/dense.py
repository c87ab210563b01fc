"""Exact search over the vectors of a bi-encoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rankcli.config.paths import shortened
from rankcli.config.registry import SEARCHERS, option
from rankcli.config.types import PositiveInt
from rankcli.data.trec import CompactRun, Run
from rankcli.searchers.base import Asked, Searcher, SearcherContext, TextVectors, Values
from rankcli.shapes import Floats

QUERIES = 256  # that are compared with a block of documents at once
Best = dict[str, float]


@SEARCHERS.register("dense")
@dataclass(frozen=True, kw_only=True)
class Dense:
    """Exact search over vectors: the product of the vectors of query and document, without the reranker's `scale`.

    The vectors are those of `rankcli encode`, and kept: what is encoded once is not encoded again. The collection is
    read in blocks, so memory does not grow with it.
    """

    version: ClassVar[int] = 1

    pretrained: str = option(help="a bi-encoder: a run directory, a directory of weights or a hub id", path="model")
    k: PositiveInt = option(1000, "documents returned per query")

    def __str__(self) -> str:
        return f"exact search over vectors of {shortened(self.pretrained)}"

    def build(self, ctx: SearcherContext) -> Searcher:
        """Open the model."""
        return _Exact(ctx.vectors(self.pretrained), self.k)


@dataclass(frozen=True)
class _Exact:
    vectors: TextVectors
    k: int

    def search(self, queries: Mapping[str, str]) -> Run:
        """Return the best documents of each query, ties by document id, descending."""
        if not queries:
            return CompactRun.of(())
        asked = self.vectors.queries(list(queries.values()))
        best: list[Best] = [{} for _ in queries]
        for docids, vectors in self.vectors.blocks():
            for n, scores in enumerate(products(asked, vectors)):
                best[n] = _merged(best[n], docids, scores, self.k)
        return CompactRun.of(zip(queries, best, strict=True))

    def scores(self, asked: Sequence[Asked]) -> list[Values]:
        """Return the products of each query with its documents."""
        queries, docs = looked_up(self.vectors, asked)
        return [each.astype(np.float64) @ query for query, each in zip(queries.astype(np.float64), docs, strict=True)]


def looked_up(vectors: TextVectors, asked: Sequence[Asked]) -> tuple[Floats, list[Floats]]:
    """Return the vectors of some queries, and those of the documents of each."""
    docids = list(dict.fromkeys(docid for _, docids in asked for docid in docids))
    place = {docid: n for n, docid in enumerate(docids)}
    found = vectors.docs(docids)
    return vectors.queries([text for text, _ in asked]), [found[[place[d] for d in docids]] for _, docids in asked]


def products(queries: Floats, docs: Floats) -> Iterator[Floats]:
    """Yield the products of each query with all documents, [documents].

    They are summed in float64, so that they do not depend on what is multiplied together.
    """
    wide = docs.astype(np.float64).T
    for start in range(0, len(queries), QUERIES):
        yield from (queries[start : start + QUERIES].astype(np.float64) @ wide).astype(np.float32)


def _merged(best: Best, docids: Sequence[str], scores: Floats, k: int) -> Best:
    """Return the best of those found before and of a block of documents."""
    # Keep all documents with the k-th score, so that ties are broken by ids alone.
    lowest = np.partition(scores, -k)[-k] if len(scores) > k else -np.inf
    found = best | {docids[n]: float(scores[n]) for n in np.flatnonzero(scores >= lowest).tolist()}
    return dict(sorted(found.items(), key=lambda item: (item[1], item[0]), reverse=True)[:k])
