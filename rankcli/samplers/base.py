"""The contract of samplers: functions from a number to the ids of a group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from rankcli.config.registry import option
from rankcli.config.types import PositiveInt
from rankcli.data.source import DocIds, TrainingTriples
from rankcli.samplers._negatives import Negatives
from rankcli.shapes import FIRST_STAGE, Judged, Ranked, Sample


class Sampler(Protocol):
    """Sample n is a pure function of n: any order of calls, in any process, gives the same groups."""

    def __call__(self, n: int) -> Sample:
        """The ids of group `n`, counted from 0."""


@dataclass(frozen=True)
class SamplerContext:
    """The inputs of a sampler: the training split, the lowest grade that counts as relevant, the seed.

    `docs` are the ids of the collection, for samplers that declare `draws_docs`; `triples` the training triples, if
    any; `columns` the names of the columns that some component reads: a sampler makes no others.
    """

    judged: Judged
    relevance_level: int = 1
    seed: int = 42
    docs: DocIds | None = None
    triples: TrainingTriples | None = None
    columns: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class SamplerOptions:
    """The base of the options of every sampler."""

    version: ClassVar[int]  # raise it when the same options give other samples

    @property
    def gives(self) -> tuple[str, ...]:
        """The columns that its samples have if a component reads them."""
        return ()

    @property
    def draws_docs(self) -> bool:
        """True if it draws from the whole collection, by ordinal: then the collection's order is in the cache id."""
        return False

    @property
    def group_size(self) -> int:
        """Documents per group."""
        raise NotImplementedError

    @property
    def depth(self) -> int | None:
        """The last rank of the candidates that it reads; None for all."""
        return None

    def build(self, ctx: SamplerContext) -> Sampler:
        """The sampler over the queries of `ctx`."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class DrawOptions(SamplerOptions):
    """The options of every sampler that draws groups from judgments and candidates."""

    neg_from: PositiveInt = option(1, "first rank of the candidates that negatives are drawn from, counted from 1")
    neg_to: PositiveInt = option(100, "last of those ranks")
    positives: Literal["judged", "retrieved"] = option(
        "judged", "relevant documents to draw: all that are judged, or those among the candidates down to `neg_to`"
    )
    negatives: Negatives = option(Negatives(), "where negatives come from besides the candidates, and bounds on them")

    def __post_init__(self) -> None:
        if self.neg_from > self.neg_to:
            raise ValueError(f"neg_from ({self.neg_from}) must not be above neg_to ({self.neg_to})")

    @property
    def gives(self) -> tuple[str, ...]:
        """The first stage's scores."""
        return (FIRST_STAGE,)

    @property
    def draws_docs(self) -> bool:
        """True if negatives are drawn from the whole collection, or from runs that may have documents outside of it."""
        return self.negatives.random > 0 or bool(self.negatives.runs)

    @property
    def depth(self) -> int:
        """The last rank that negatives are drawn from."""
        return self.neg_to


def graded(ctx: SamplerContext, qid: str, positives: tuple[str, ...], negatives: int) -> tuple[float, ...]:
    """The labels of a group: the grades of its relevant documents (1 with training triples), and 0 for negatives."""
    grades = {} if ctx.triples is not None else ctx.judged.qrels[qid]
    return (*[float(grades.get(docid, 1)) for docid in positives], *[0.0] * negatives)


@dataclass(frozen=True)
class FirstStage:
    """The column `first_stage`: the scores of the candidates, if a component reads them.

    A document that is not among the first `depth` candidates (a relevant one need not be) has the score of the last.
    """

    run: Mapping[str, Ranked]
    depth: int | None
    read: bool

    def __call__(self, qid: str, docids: tuple[str, ...]) -> dict[str, tuple[float, ...]]:
        """The columns of a group."""
        if not self.read:
            return {}
        candidates = self.run[qid]
        scores = dict(zip(candidates.docids[: self.depth], candidates.scores[: self.depth].tolist(), strict=True))
        last = next(reversed(scores.values()))
        return {FIRST_STAGE: tuple(scores.get(docid, last) for docid in docids)}
