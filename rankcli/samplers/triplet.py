"""Triplets: a query with a relevant document and a not relevant one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import SAMPLERS
from rankcli.samplers._pools import Draw, draw
from rankcli.samplers.base import DrawOptions, Sampler, SamplerContext
from rankcli.shapes import Sample


@dataclass(frozen=True)
class _TripletSampler:
    draw: Draw

    def __call__(self, n: int) -> Sample:
        drawn = self.draw(n, 1)
        return Sample(drawn.qid, drawn.documents, (1.0, 0.0), self.draw.columns(drawn.qid, drawn.documents))


@SAMPLERS.register("triplet")
@dataclass(frozen=True, kw_only=True)
class Triplet(DrawOptions):
    """A relevant document, drawn uniformly, then one negative; every query once per pass (pairwise training)."""

    version: ClassVar[int] = 1

    @property
    def group_size(self) -> int:
        """Documents per group."""
        return 2

    def build(self, ctx: SamplerContext) -> Sampler:
        """The sampler over the queries of `ctx`."""
        return _TripletSampler(draw(ctx, self, 1))
