"""The pairs of documents that a file of training triples says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import SAMPLERS
from rankcli.data.source import TrainingTriples
from rankcli.errors import ConfigError, DataError
from rankcli.samplers._draw import ORDER, permutation
from rankcli.samplers.base import Sampler, SamplerContext, SamplerOptions
from rankcli.shapes import Sample


class _TriplesSampler:
    """To another process goes what the numbers of the lines are made from: there may be millions of them."""

    def __init__(self, triples: TrainingTriples, qids: tuple[str, ...], seed: int) -> None:
        self._made_of = triples, qids, seed
        self.lines = triples.lines(qids)

    def __reduce__(self) -> tuple[type[_TriplesSampler], tuple[TrainingTriples, tuple[str, ...], int]]:
        return _TriplesSampler, self._made_of

    def __call__(self, n: int) -> Sample:
        triples, _, seed = self._made_of
        turn, place = divmod(n, len(self.lines))
        line = self.lines[permutation(seed, ORDER, turn, len(self.lines))[place]]
        qid, positive, negative = triples.line(int(line))
        return Sample(qid, (positive, negative), (1.0, 0.0))


@SAMPLERS.register("triples")
@dataclass(frozen=True, kw_only=True)
class TriplesSampler(SamplerOptions):
    """A line of the training triples: its relevant document, then its other one; every line once per pass, in a new
    order each.

    Lines of other queries than those of the training, and lines with a document that is not in the collection, are left
    out. Nogueira and Cho, "Passage Re-ranking with BERT" (2019), section 3, train so.
    """

    version: ClassVar[int] = 1

    @property
    def group_size(self) -> int:
        """Documents per group."""
        return 2

    @property
    def depth(self) -> int:
        """It reads no candidates."""
        return 0

    def build(self, ctx: SamplerContext) -> Sampler:
        """The sampler over the training queries' triples; DataError where they have none."""
        if ctx.triples is None:
            raise ConfigError(
                "there are no training triples", where="sampler", fix="name a file of them: data.triples, or use LCE"
            )
        sampler = _TriplesSampler(ctx.triples, ctx.judged.qids, ctx.seed)
        if not len(sampler.lines):
            raise DataError("no line has a training query and two known documents", where=ctx.triples.source)
        return sampler
