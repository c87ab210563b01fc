"""Groups of several relevant documents and negatives, with grades."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import SAMPLERS, option
from rankcli.config.types import PositiveInt
from rankcli.samplers._pools import Draw, draw
from rankcli.samplers.base import DrawOptions, Sampler, SamplerContext, graded
from rankcli.shapes import Sample


@dataclass(frozen=True)
class _ListwiseSampler:
    draw: Draw
    options: Listwise
    ctx: SamplerContext

    def __call__(self, n: int) -> Sample:
        drawn = self.draw(n, self.options.nneg, self.options.npos)
        labels = graded(self.ctx, drawn.qid, drawn.positives, len(drawn.negatives))
        return Sample(drawn.qid, drawn.documents, labels, self.draw.columns(drawn.qid, drawn.documents))


@SAMPLERS.register("listwise")
@dataclass(frozen=True, kw_only=True)
class Listwise(DrawOptions):
    """`npos` relevant documents with their grades, then `nneg` negatives with 0; every query once per pass.

    All are different: relevant documents uniformly without replacement, negatives as in `LCE`. A query with fewer
    relevant documents gets more negatives in their place, one with fewer documents in all gives a smaller group. With
    large numbers a group is all that is known of its query.
    """

    version: ClassVar[int] = 1
    npos: PositiveInt = option(1, "relevant documents per group, at most")
    nneg: PositiveInt = option(7, "negatives per group")

    @property
    def group_size(self) -> int:
        """The documents of a group, at most."""
        return self.npos + self.nneg

    def build(self, ctx: SamplerContext) -> Sampler:
        """The sampler over the queries of `ctx`."""
        return _ListwiseSampler(draw(ctx, self), self, ctx)
