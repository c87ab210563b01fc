"""Groups for the localized contrastive estimation loss."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import SAMPLERS, option
from rankcli.config.types import PositiveInt
from rankcli.samplers._pools import Draw, draw
from rankcli.samplers.base import DrawOptions, Sampler, SamplerContext
from rankcli.shapes import Sample


@dataclass(frozen=True)
class _LCESampler:
    draw: Draw
    nneg: int

    def __call__(self, n: int) -> Sample:
        drawn = self.draw(n, self.nneg)
        docids = (*drawn.positives, *itertools.islice(itertools.cycle(drawn.negatives), self.nneg))
        return Sample(drawn.qid, docids, (1.0,) + (0.0,) * self.nneg, self.draw.columns(drawn.qid, docids))


@SAMPLERS.register("LCE")
@dataclass(frozen=True, kw_only=True)
class LCE(DrawOptions):
    """A relevant document, then `nneg` different negatives of the candidates; every query once per pass.

    Gao, Dai and Callan, "Rethink Training of BERT Rerankers in Multi-Stage Retrieval Pipeline" (ECIR 2021). A query
    with fewer negatives gives all of them in random order and then repeats them in that order.
    """

    version: ClassVar[int] = 1
    nneg: PositiveInt = option(7, "negatives per group")

    @property
    def group_size(self) -> int:
        """Documents per group."""
        return 1 + self.nneg

    def build(self, ctx: SamplerContext) -> Sampler:
        """The sampler over the queries of `ctx`."""
        return _LCESampler(draw(ctx, self, self.nneg), self.nneg)
