"""The pairs of documents of a file of training triples."""

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
    """Is pickled without the line numbers, of which there may be millions; the other process finds them again."""

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
    """A line of the training triples: its relevant document, then the other; every line once per pass, in a new order.

    Lines of queries that are not in the training split, and lines with a document that is not in the collection, are
    left out. Used by Nogueira and Cho, "Passage Re-ranking with BERT" (2019), section 3.
    """

    version: ClassVar[int] = 1

    @property
    def group_size(self) -> int:
        """Documents per group."""
        return 2

    @property
    def depth(self) -> int:
        """0: it reads no candidates."""
        return 0

    def build(self, ctx: SamplerContext) -> Sampler:
        """The sampler over the training queries' lines; ConfigError without triples, DataError without usable lines."""
        if ctx.triples is None:
            raise ConfigError(
                "there are no training triples", where="sampler", fix="name a file of them: data.triples, or use LCE"
            )
        sampler = _TriplesSampler(ctx.triples, ctx.judged.qids, ctx.seed)
        if not len(sampler.lines):
            raise DataError("no line has a training query and two known documents", where=ctx.triples.source)
        return sampler
