"""What a sampler is, what it is built from, and how training groups are drawn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from rankcli import log
from rankcli.config.registry import option
from rankcli.config.types import PositiveInt
from rankcli.errors import DataError
from rankcli.samplers._draw import GROUP, ORDER, Draws, permutation
from rankcli.shapes import Judged, Sample


class Sampler(Protocol):
    """Sample n is a pure function of n: any order of calls, in any process, gives the same groups."""

    def __call__(self, n: int) -> Sample:
        """The ids of group `n`, counted from 0."""


@dataclass(frozen=True)
class SamplerContext:
    """What a sampler is built from: the training split, the lowest grade that counts as relevant, the seed."""

    judged: Judged
    relevance_level: int = 1
    seed: int = 42


@dataclass(frozen=True, kw_only=True)
class GroupOptions:
    """The options of every sampler that draws groups from judgments and candidates."""

    neg_from: PositiveInt = option(1, "first rank of the candidates that negatives are drawn from, counted from 1")
    neg_to: PositiveInt = option(100, "last of those ranks")
    positives: Literal["judged", "retrieved"] = option(
        "judged", "relevant documents to draw: all that are judged, or those among the candidates down to `neg_to`"
    )

    def __post_init__(self) -> None:
        if self.neg_from > self.neg_to:
            raise ValueError(f"neg_from ({self.neg_from}) must not be above neg_to ({self.neg_to})")


class Pool(NamedTuple):
    """A query with documents to draw from (or drawn): relevant ones, sorted by id, and negatives by rank."""

    qid: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]


@dataclass(frozen=True)
class Draw:
    """One positive and negatives of the query whose turn it is; the queries come in a new order each pass."""

    pools: tuple[Pool, ...]
    seed: int

    def __call__(self, n: int, negatives: int) -> Pool:
        """Draw `n`: its query, a positive, `negatives` different negatives (or all in turn, if too few)."""
        turn, place = divmod(n, len(self.pools))
        pool = self.pools[int(permutation(self.seed, ORDER, turn, len(self.pools))[place])]
        different = min(negatives, len(pool.negatives))
        draws = Draws(self.seed, GROUP, n, 1 + different)
        positive = pool.positives[draws.below(len(pool.positives))]
        picked = draws.distinct(len(pool.negatives), different)
        repeated = itertools.islice(itertools.cycle(picked), negatives)
        return Pool(pool.qid, (positive,), tuple([pool.negatives[i] for i in repeated]))


def draw(ctx: SamplerContext, options: GroupOptions, negatives: int) -> Draw:
    """What groups with one positive and `negatives` negatives are drawn from.

    A relevant document need not be retrieved unless `positives` says so; a negative is a retrieved document of those
    ranks that is unjudged or judged below the relevance level. Queries without both are left out, and said; none left
    is a DataError. Queries are taken by id, so that the order of the lines of an input file does not change the
    samples.
    """
    every = list(_pools(ctx, options))
    pools = tuple(pool for pool in every if pool.positives and pool.negatives)
    _say_left_out(every, options)
    if not pools:
        raise DataError(
            "no training query has both a relevant document and a candidate that is not relevant",
            fix="check the ids of qrels, run and queries, data.relevance_level, sampler.neg_from and sampler.neg_to",
        )
    short = sum(len(pool.negatives) < negatives for pool in pools)
    if short:
        log.warn(f"{short} of {len(pools)} training queries have fewer than {negatives} negatives and repeat some")
    return Draw(pools, ctx.seed)


def _pools(ctx: SamplerContext, options: GroupOptions) -> Iterator[Pool]:
    for qid in sorted(ctx.judged.qids):
        grades = ctx.judged.qrels.get(qid, {})
        relevant = {docid for docid, grade in grades.items() if grade >= ctx.relevance_level}
        retrieved = ctx.judged.run.get(qid, ())[: options.neg_to]
        positives = relevant if options.positives == "judged" else relevant.intersection(retrieved)
        negatives = tuple(docid for docid in retrieved[options.neg_from - 1 :] if docid not in relevant)
        yield Pool(qid, tuple(sorted(positives)), negatives)


def _say_left_out(pools: list[Pool], options: GroupOptions) -> None:
    unjudged = sum(not pool.positives for pool in pools)
    unmatched = sum(bool(pool.positives) and not pool.negatives for pool in pools)
    if unjudged:
        among = f" among their first {options.neg_to} candidates" if options.positives == "retrieved" else ""
        log.warn(f"{unjudged} of {len(pools)} training queries have no relevant document{among} and are left out")
    if unmatched:
        at = f"at ranks {options.neg_from}-{options.neg_to}"
        log.warn(f"{unmatched} of {len(pools)} training queries have no negative {at} and are left out")
