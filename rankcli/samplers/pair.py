"""Pairs: a query with one document, in turn relevant and not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import SAMPLERS
from rankcli.samplers._pools import Draw, draw
from rankcli.samplers.base import DrawOptions, Sampler, SamplerContext
from rankcli.shapes import Sample


@dataclass(frozen=True)
class _PairSampler:
    draw: Draw

    def __call__(self, n: int) -> Sample:
        turn, negative = divmod(n, 2)
        drawn = self.draw(turn, 1)
        docids = drawn.documents[negative : negative + 1]
        return Sample(drawn.qid, docids, (0.0 if negative else 1.0,), self.draw.columns(drawn.qid, docids))


@SAMPLERS.register("pair")
@dataclass(frozen=True, kw_only=True)
class Pair(DrawOptions):
    """A query with a relevant document (label 1), then the same query with a negative (label 0): groups of one.

    Samples 2n and 2n + 1 are the two documents of sample n of `triplet` (pointwise training).
    """

    version: ClassVar[int] = 1

    @property
    def group_size(self) -> int:
        """Documents per group."""
        return 1

    def build(self, ctx: SamplerContext) -> Sampler:
        """The sampler over the queries of `ctx`."""
        return _PairSampler(draw(ctx, self, 1))
