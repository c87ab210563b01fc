"""Groups drawn from the relevant documents and the candidates of each query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np

from rankcli import log
from rankcli.data.source import DocIds, TrainingTriples
from rankcli.errors import DataError
from rankcli.samplers._draw import GROUP, ORDER, Draws, permutation
from rankcli.samplers._mined import Mined, mined, relevant_to
from rankcli.samplers._negatives import choices
from rankcli.samplers.base import DrawOptions, FirstStage, SamplerContext
from rankcli.shapes import FIRST_STAGE, Ints, Judged

KEPT = 1 << 22  # negatives in memory at most; if there are more, a pool is made anew each time it is drawn from


class Pool(NamedTuple):
    """A query with documents to draw from, or already drawn: relevant ones sorted by id, negatives by rank."""

    qid: str
    positives: tuple[str, ...]
    negatives: Sequence[str]

    @property
    def documents(self) -> tuple[str, ...]:
        """All documents, relevant ones first."""
        return (*self.positives, *self.negatives)


class IdsAt(Sequence[str]):
    """The ids of some ordinals, each looked up when it is needed."""

    def __init__(self, docs: DocIds, ordinals: Ints) -> None:
        self._docs, self._ordinals = docs, ordinals

    @overload
    def __getitem__(self, n: int) -> str: ...
    @overload
    def __getitem__(self, n: slice | list[int]) -> Sequence[str]: ...
    def __getitem__(self, n: int | slice | list[int]) -> str | Sequence[str]:
        if not isinstance(n, int):
            return IdsAt(self._docs, self._ordinals[n])
        return self._docs.id_at(int(self._ordinals[n]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._docs.ids_at(self._ordinals.tolist()))

    def __len__(self) -> int:
        return len(self._ordinals)


def _at(docids: Sequence[str], places: list[int]) -> list[str]:
    """The ids at some places, looked up together."""
    return list(docids[places]) if isinstance(docids, IdsAt) else [docids[place] for place in places]


@dataclass(frozen=True)
class JudgedPools:
    """The pools of queries with judgments and candidates."""

    judged: Judged
    relevance_level: int
    options: DrawOptions

    def __call__(self, qid: str) -> Pool:
        """The pool of a query."""
        options, relevant = self.options, relevant_to(self.judged, qid, self.relevance_level)
        retrieved = self.judged.run[qid].docids[: options.neg_to] if qid in self.judged.run else ()
        positives = relevant if options.positives == "judged" else relevant.intersection(retrieved)
        negatives = tuple([docid for docid in retrieved[options.neg_from - 1 :] if docid not in relevant])
        return Pool(qid, tuple(sorted(positives)), negatives)


@dataclass(frozen=True)
class TriplePools:
    """The pools of queries with training triples. The documents that are not relevant are the candidates, in the order
    of their first line.
    """

    triples: TrainingTriples
    options: DrawOptions

    def __call__(self, qid: str) -> Pool:
        """The pool of a query; only its relevant documents are looked up."""
        pairs, options = self.triples.pairs(qid), self.options
        relevant = np.unique(pairs[:, 0][pairs[:, 0] >= 0])
        others, first = np.unique(pairs[:, 1], return_index=True)
        others = others[np.argsort(first)]
        negatives = others[(others >= 0) & ~np.isin(others, relevant)][options.neg_from - 1 : options.neg_to]
        positives = self.triples.docs.ids_at(relevant.tolist()) if options.positives == "judged" else []
        return Pool(qid, tuple(sorted(positives)), IdsAt(self.triples.docs, negatives))


@dataclass(frozen=True)
class Draw:
    """Draws positives and negatives of the next query; the queries come in a new order in each pass."""

    qids: tuple[str, ...]
    pools: JudgedPools | TriplePools
    kept: tuple[Pool, ...] | None
    seed: int
    columns: FirstStage
    mined: Mined | None = None

    def __call__(self, n: int, negatives: int, positives: int = 1) -> Pool:
        """Draw `n`: its query, different positives and negatives, fewer negatives if there are no more. What is missing
        of the positives is made up with negatives.
        """
        turn, place = divmod(n, len(self.qids))
        query = int(permutation(self.seed, ORDER, turn, len(self.qids))[place])
        most = positives + (negatives if self.mined is None else choices(negatives + positives))
        return self.group(query, Draws(self.seed, GROUP, n, most), negatives, positives)

    def group(self, query: int, draws: Draws, negatives: int, positives: int = 1) -> Pool:
        """Draw a group of a query."""
        pool = self.pool(query)
        picked = draws.distinct(len(pool.positives), min(positives, len(pool.positives)))
        chosen = tuple([pool.positives[place] for place in picked])
        return Pool(pool.qid, chosen, self._negatives(pool, chosen, draws, negatives + positives - len(chosen)))

    def pool(self, query: int) -> Pool:
        """The documents of a query, by its number."""
        return narrowed(self.mined, self.pools(self.qids[query])) if self.kept is None else self.kept[query]

    def _negatives(self, pool: Pool, positives: tuple[str, ...], draws: Draws, count: int) -> tuple[str, ...]:
        if self.mined is not None:
            return tuple(self.mined.draw(pool.qid, positives, pool.negatives, draws, count))
        picked = draws.distinct(len(pool.negatives), min(count, len(pool.negatives)))
        return tuple(_at(pool.negatives, picked))


def narrowed(mined: Mined | None, pool: Pool) -> Pool:
    """The pool without relevant documents beside which there is no negative."""
    if mined is None:
        return pool
    return pool._replace(positives=mined.usable(pool.qid, pool.positives, tuple(pool.negatives)))


@dataclass
class _Counts:
    """Counts of queries by the reason why they cannot train."""

    queries: int = 0
    unjudged: int = 0
    unmatched: int = 0
    short: int = 0
    negatives: int = 0

    def add(self, pool: Pool, usable: bool) -> bool:
        """Count a query; True if it can train."""
        self.queries += 1
        self.unjudged += not pool.positives
        self.unmatched += bool(pool.positives) and not usable
        self.negatives += len(pool.negatives)
        return usable


def draw(ctx: SamplerContext, options: DrawOptions, negatives: int = 1) -> Draw:
    """Make the function that draws groups.

    A relevant document need not be retrieved, except with `positives: retrieved`. A negative is a candidate at ranks
    `neg_from` to `neg_to` that is unjudged or judged below the relevance level, or what `negatives` weighs. Queries
    without both are left out with a warning, and another tells of those with fewer than `negatives` candidates;
    DataError if none is left. Queries are sorted by id, so that the order of lines in the input files does not change
    the samples. With training triples, all documents come from them alone.
    """
    pools, sources = _pools(ctx, options), mined(ctx, options.negatives, slice(options.neg_from - 1, options.neg_to))
    counts, qids, kept = _Counts(), [], list[Pool]()
    for qid in sorted(ctx.judged.qids):
        whole = pools(qid)
        pool = narrowed(sources, whole)
        if counts.add(whole, _usable(ctx, pool, sources)):
            qids.append(qid)
            counts.short += sources is None and len(pool.negatives) < negatives
            if counts.negatives <= KEPT:
                kept.append(pool._replace(negatives=tuple(pool.negatives)))
    _tell(counts, options, negatives)
    few = tuple(kept) if counts.negatives <= KEPT else None
    columns = FirstStage(ctx.judged.run, options.depth, FIRST_STAGE in ctx.columns)
    return Draw(tuple(qids), pools, few, ctx.seed, columns, sources)


def _usable(ctx: SamplerContext, pool: Pool, sources: Mined | None) -> bool:
    """True if a query can train: a pool narrowed by other sources has a negative for each positive. Somebody who reads
    first-stage scores needs candidates.
    """
    needs_candidates = sources is None or FIRST_STAGE in ctx.columns
    return bool(pool.positives) and (bool(pool.negatives) or not needs_candidates)


def _pools(ctx: SamplerContext, options: DrawOptions) -> JudgedPools | TriplePools:
    if ctx.triples is None:
        return JudgedPools(ctx.judged, ctx.relevance_level, options)
    if FIRST_STAGE in ctx.columns:
        raise DataError(
            "training triples have no first-stage scores",
            where=ctx.triples.source,
            fix="train on a run (data.run) without data.triples, or leave out what reads the scores",
        )
    return TriplePools(ctx.triples, options)


def _tell(counts: _Counts, options: DrawOptions, negatives: int) -> None:
    """Warn of queries that cannot train or that repeat documents; DataError if none can train."""
    queries, usable = counts.queries, counts.queries - counts.unjudged - counts.unmatched
    if counts.unjudged:
        what = f"{counts.unjudged} of {queries} training queries have no relevant document"
        if options.positives == "retrieved":  # leaving them out is what was asked for
            log.say(f"{what} among their first {options.neg_to} candidates and are left out (positives: retrieved)")
        else:
            log.warn(f"{what} and are left out")
    if counts.unmatched:
        plain = options.negatives.plain
        at = f"at ranks {options.neg_from}-{options.neg_to}" if plain else "in any source, within the bounds,"
        log.warn(f"{counts.unmatched} of {queries} training queries have no negative {at} and are left out")
    if not usable:
        raise DataError(
            "no training query has both a relevant document and a candidate that is not relevant",
            fix="check the ids of qrels, run and queries, data.relevance_level, sampler.neg_from, neg_to and negatives",
        )
    if counts.short:
        log.warn(f"{counts.short} of {usable} training queries have fewer than {negatives} negatives and repeat some")
