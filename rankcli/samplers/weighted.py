"""The groups of another sampler with weights from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from rankcli.config.registry import SAMPLERS, component, option
from rankcli.data.weights import read_weights
from rankcli.errors import DataError
from rankcli.log import say
from rankcli.samplers.base import Sampler, SamplerContext, SamplerOptions
from rankcli.shapes import Sample

WEIGHT = "weight"


@dataclass(frozen=True)
class _Weighted:
    base: Sampler
    weights: Mapping[str, Mapping[str, float]]

    def __call__(self, n: int) -> Sample:
        sample = self.base(n)
        known = self.weights.get(sample.qid, {})
        weights = tuple([known.get(docid, 1.0) for docid in sample.docids])
        return replace(sample, columns={**sample.columns, WEIGHT: weights})


@SAMPLERS.register("weighted")
@dataclass(frozen=True, kw_only=True)
class Weighted(SamplerOptions):
    """The groups that `base` draws, with the weights of a file as the column `weight`, and 1 for all other pairs.

    A weight scales the part that a document has in the loss. It does not change what is drawn, or how often.
    """

    version: ClassVar[int] = 1
    weights: str = option(
        help="JSONL of {query-id, corpus-id, weight}, such as judgments with a further key `weight`", path="file"
    )
    base: Any = component(SAMPLERS, "LCE", "the sampler that draws the groups")

    def __post_init__(self) -> None:
        if WEIGHT in self.base.gives:
            raise ValueError(f"base {SAMPLERS.name_of(self.base)!r} gives weights itself")

    @property
    def gives(self) -> tuple[str, ...]:
        """The columns of `base`, and `weight`."""
        return (*self.base.gives, WEIGHT)

    @property
    def draws_docs(self) -> bool:
        """True if `base` does."""
        return bool(self.base.draws_docs)

    @property
    def group_size(self) -> int:
        """Documents per group."""
        return int(self.base.group_size)

    @property
    def depth(self) -> int | None:
        """The last rank that `base` reads."""
        depth: int | None = self.base.depth
        return depth

    def build(self, ctx: SamplerContext) -> Sampler:
        """The sampler; DataError if no weight is of a training query."""
        qids = set(ctx.judged.qids)
        weights = {qid: known for qid, known in read_weights(self.weights).items() if qid in qids}
        if not weights:
            raise DataError("it has no training query", where=self.weights, fix="check that ids are written alike")
        pairs = sum(map(len, weights.values()))
        say(f"{self.weights}: weights of {pairs} pairs of {len(weights)} of {len(qids)} training queries")
        return _Weighted(self.base.build(replace(ctx, columns=ctx.columns - {WEIGHT})), weights)
