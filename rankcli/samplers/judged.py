"""All judged documents of a query, with their grades."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rankcli import log
from rankcli.config.registry import SAMPLERS, option
from rankcli.config.types import PositiveInt
from rankcli.errors import DataError
from rankcli.samplers._draw import GROUP, ORDER, Draws, permutation
from rankcli.samplers.base import Sampler, SamplerContext, SamplerOptions
from rankcli.shapes import Judged, Sample


@dataclass(frozen=True)
class _JudgedSampler:
    qids: tuple[str, ...]
    judged: Judged
    size: int
    seed: int

    def __call__(self, n: int) -> Sample:
        turn, place = divmod(n, len(self.qids))
        qid = self.qids[int(permutation(self.seed, ORDER, turn, len(self.qids))[place])]
        grades, docids = self.judged.qrels[qid], sorted(self.judged.qrels[qid])
        size = min(self.size, len(docids))
        drawn = tuple([docids[k] for k in Draws(self.seed, GROUP, n, size).distinct(len(docids), size)])
        return Sample(qid, drawn, tuple([float(max(grades[docid], 0)) for docid in drawn]))


@SAMPLERS.register("judged")
@dataclass(frozen=True, kw_only=True)
class JudgedLists(SamplerOptions):
    """All judged documents of a query with their grades, as learning to rank on features needs them; every query once
    per pass.

    Of more than `size` documents, as many are drawn at random, anew in each pass. A grade below 0 counts as 0.
    Candidates that are not judged are not drawn. Queries whose documents all have one grade are left out, since they
    teach no order.
    """

    version: ClassVar[int] = 1
    size: PositiveInt = option(100, "documents per group, at most")

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ValueError("size must be at least 2: one document has no order")

    @property
    def group_size(self) -> int:
        """The documents of a group, at most."""
        return self.size

    @property
    def depth(self) -> int:
        """1, as no candidates are read."""
        return 1

    def build(self, ctx: SamplerContext) -> Sampler:
        """The sampler over the queries of `ctx`."""
        qrels = ctx.judged.qrels
        qids = tuple(
            qid for qid in sorted(ctx.judged.qids) if len({max(grade, 0) for grade in qrels[qid].values()}) > 1
        )
        if not qids:
            raise DataError("no training query has documents of different grades", fix="use the sampler `LCE`")
        if left := len(ctx.judged.qids) - len(qids):
            count = len(ctx.judged.qids)
            log.warn(f"{left} of {count} training queries have documents of one grade alone and are left out")
        return _JudgedSampler(qids, ctx.judged, self.size, ctx.seed)
