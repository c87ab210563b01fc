"""Hard negatives of a run: which documents may be one, and which are chosen."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from rankcli.data.mined_formats import Mined
from rankcli.data.source import Documents
from rankcli.data.trec import Qrels, ranking
from rankcli.samplers.guards import Guards

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
Scored = tuple[str, Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Mining:
    """The options: candidates at ranks `first` to `last`, those of them that are `judged`, guards against documents
    that may be relevant, and the `most` negatives of a relevant document: the best, or with `seed` any, all as likely.
    """

    first: int
    last: int
    guards: Guards
    most: int | None = None
    judged: bool = False
    seed: int | None = None
    exactly: bool = False  # leave out relevant documents with fewer than `most` negatives
    relevance_level: int = 1


class Unmined(NamedTuple):
    """A query of a run: its relevant documents, its candidates, and the scores of all that have one."""

    qid: str
    positives: tuple[str, ...]
    candidates: tuple[str, ...]
    scores: Mapping[str, float]


@dataclass
class Counts:
    """The numbers of a mining: `dropped` counts candidates by what dropped them; scores take 4 bytes each."""

    judged: int = 0
    queries: int = 0
    positives: int = 0
    unscored: int = 0
    candidates: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    bare: int = 0
    rows: int = 0
    kept: int = 0
    scores: dict[str, array[float]] = field(default_factory=lambda: {"relevant": array("f"), "negatives": array("f")})

    def quantiles(self) -> dict[str, list[float] | None]:
        """The quantiles of the scores of relevant documents and of negatives; None without scores."""
        return {
            kind: np.quantile(np.frombuffer(found, np.float32), QUANTILES).tolist() if found else None
            for kind, found in self.scores.items()
        }


@dataclass(frozen=True)
class Pairs:
    """The pairs of a run to mine from, for queries with a relevant document; each iteration reads the run anew.

    As a run to rerank, it also has the relevant documents that were not retrieved, with the score of the last
    candidate. Documents without a text are left out, if there is a collection.
    """

    run: Iterable[Scored]
    qrels: Qrels
    options: Mining
    topics: Mapping[str, str] | None = None
    store: Documents | None = None

    def __iter__(self) -> Iterator[Scored]:
        for query in self.unmined():
            last = query.scores[query.candidates[-1]]
            retrieved = {docid: query.scores[docid] for docid in query.candidates}
            yield query.qid, retrieved | {docid: query.scores.get(docid, last) for docid in query.positives}

    def unmined(self) -> Iterator[Unmined]:
        """Yield the queries with relevant documents and candidates, with the scores of the run."""
        for qid, scores in self.run:
            if self.topics is None or qid in self.topics:
                found = self.taken(qid, scores, self.options.first, self.options.last)
                if found.positives and found.candidates:
                    yield found

    def taken(self, qid: str, scores: Mapping[str, float], first: int, last: int) -> Unmined:
        """The query with the candidates at some ranks."""
        options, grades = self.options, self.qrels.get(qid, {})
        relevant = {docid for docid, grade in grades.items() if grade >= options.relevance_level}
        retrieved = ranking(scores)[first - 1 : last] if relevant else ()
        candidates = [docid for docid in retrieved if docid not in relevant]
        unknown = set() if self.store is None else self.store.absent({*relevant, *candidates})
        positives = tuple(sorted(relevant - unknown))
        return Unmined(qid, positives, tuple([d for d in candidates if d not in unknown]), scores)

    def scored(self, reranked: Iterable[Scored]) -> Iterator[Unmined]:
        """Yield the same queries with the scores of a model."""
        for qid, scores in reranked:
            yield self.taken(qid, scores, 1, len(scores))


def mined(queries: Iterable[Unmined], pairs: Pairs, source: str, counts: Counts) -> Iterator[Mined]:
    """Yield a row for each relevant document that has negatives, with `source` as the name of their list.

    A candidate is dropped for the first reason of: not judged, then the guards in their order, then the number.
    """
    for query in queries:
        counts.queries += 1
        for positive in query.positives:
            row = _row(query, positive, pairs, source, counts)
            if row.negatives and not (pairs.options.exactly and len(row.negatives) != pairs.options.most):
                counts.rows += 1
                counts.kept += len(row.negatives)
                counts.scores["negatives"].extend(row.scores)
                yield row
            else:
                counts.bare += 1


def _row(query: Unmined, positive: str, pairs: Pairs, source: str, counts: Counts) -> Mined:
    score = query.scores.get(positive)
    counts.positives += 1
    counts.unscored += score is None
    counts.scores["relevant"].extend([] if score is None else [score])
    passed = _passed(query, score, pairs, counts)
    chosen = _chosen(query.qid, positive, passed, pairs.options)
    counts.dropped["number"] += len(passed) - len(chosen)
    scores = tuple([_short(query.scores[docid]) for docid in chosen])
    return Mined(query.qid, positive, chosen, source, None if score is None else _short(score), scores)


def _short(score: float) -> float:
    """The number with the fewest digits that is the same float32."""
    return float(str(np.float32(score)))


def _passed(query: Unmined, score: float | None, pairs: Pairs, counts: Counts) -> list[str]:
    """The candidates that no guard drops, best first."""
    bounds, grades = pairs.options.guards.bounds(score), pairs.qrels[query.qid]
    passed = []
    counts.candidates += len(query.candidates)
    for docid in query.candidates:
        if pairs.options.judged and docid not in grades:
            counts.dropped["unjudged"] += 1
        elif over := next((name for name, bound in bounds.items() if query.scores[docid] > bound), None):
            counts.dropped[over] += 1
        else:
            passed.append(docid)
    return passed


def _chosen(qid: str, positive: str, passed: list[str], options: Mining) -> tuple[str, ...]:
    """The first documents; with a seed those whose hash of seed and ids is least, in the order of the list."""
    if options.seed is None or options.most is None:
        return tuple(passed[: options.most])
    drawn = {*sorted(passed, key=lambda docid: _hash(options.seed, qid, positive, docid))[: options.most]}
    return tuple([docid for docid in passed if docid in drawn])


def _hash(*parts: object) -> bytes:
    return hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
