"""Single documents, a share of them relevant."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, Literal

from rankcli.config.registry import SAMPLERS, option
from rankcli.config.types import Probability
from rankcli.samplers._draw import GROUP, Draws
from rankcli.samplers._negatives import choices
from rankcli.samplers._pools import Draw, draw
from rankcli.samplers.base import DrawOptions, Sampler, SamplerContext, graded
from rankcli.shapes import Sample


@dataclass(frozen=True)
class _PointwiseSampler:
    """`sums` are, of negatives and of relevant documents, the sums of the weights of the queries up to each one."""

    draw: Draw
    ratio: float
    sums: tuple[tuple[int, ...], tuple[int, ...]]
    ctx: SamplerContext

    def __call__(self, n: int) -> Sample:
        draws = Draws(self.ctx.seed, GROUP, n, 3 + choices(1))
        relevant = draws.weighted([1.0 - self.ratio, self.ratio])
        sums = self.sums[relevant]
        drawn = self.draw.group(bisect_right(sums, draws.below(sums[-1])), draws, 1)
        docids = drawn.positives if relevant else tuple(drawn.negatives)
        labels = graded(self.ctx, drawn.qid, docids, 0) if relevant else (0.0,)
        return Sample(drawn.qid, docids, labels, self.draw.columns(drawn.qid, docids))


@SAMPLERS.register("pointwise")
@dataclass(frozen=True, kw_only=True)
class Pointwise(DrawOptions):
    """A relevant document with its grade (`relevant_ratio` of all samples), or a negative with 0: groups of one.

    Each sample is drawn by itself. `balance: query`: any query is as likely as another, then any of its relevant
    documents or negatives. `balance: record`: any pair of a query and a relevant document is as likely as another, and
    any pair of a query and a candidate that is a negative; queries with many of them dominate.
    """

    version: ClassVar[int] = 1
    relevant_ratio: Probability = option(0.5, "share of relevant documents")
    balance: Literal["record", "query"] = option("record", "what is equally likely: pairs, or queries")

    @property
    def group_size(self) -> int:
        """Documents per group."""
        return 1

    def build(self, ctx: SamplerContext) -> Sampler:
        """The sampler over the queries of `ctx`."""
        drawn = draw(ctx, self)
        counts = [self._counts(drawn, query) for query in range(len(drawn.qids))]
        negatives, positives = zip(*counts, strict=True)
        return _PointwiseSampler(drawn, self.relevant_ratio, (_sums(negatives), _sums(positives)), ctx)

    def _counts(self, drawn: Draw, query: int) -> tuple[int, int]:
        """The weights of a query among negatives and among relevant documents."""
        if self.balance == "query":
            return 1, 1
        pool = drawn.pool(query)
        return max(len(pool.negatives), 1), len(pool.positives)


def _sums(counts: Iterable[int]) -> tuple[int, ...]:
    return tuple(accumulate(counts))
