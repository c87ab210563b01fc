"""The contract of signals: functions from queries with their candidates to a number for each document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from rankcli.config.registry import SEARCHERS, SIGNALS, option
from rankcli.searchers.base import Asked, SearcherContext, Values


class Candidates(NamedTuple):
    """A query with its documents: their scores in the first stage and, if a model has scored them, by the reranker."""

    query: str
    docids: tuple[str, ...]
    first: Values
    reranked: Values | None = None


class Signal(Protocol):
    """A function of the texts of a query and a document, or of scores; known for any query, judged or not."""

    def __call__(self, block: Sequence[Candidates]) -> list[Values]:
        """The values of the documents of each query, float64 [K]. They may depend on all documents of the query."""


@dataclass(frozen=True, kw_only=True)
class SignalOptions:
    """The base of the options of every signal."""

    version: ClassVar[int]  # raise it when the same options give other values
    usual: ClassVar[float] = 0.0  # the weight to start from, if `prior` does not say another
    reads_texts: ClassVar[bool] = True  # False: it reads scores alone
    reads_reranker: ClassVar[bool] = False  # True: it reads the scores of the reranker

    prior: float | None = option(
        None, "weight that learning is held at; default: 1 of first_stage, reranker and cosine, else 0"
    )

    @property
    def start(self) -> float:
        """The weight to start from."""
        return self.usual if self.prior is None else self.prior

    def __str__(self) -> str:
        return SIGNALS.name_of(self)

    def build(self, ctx: SearcherContext) -> Signal:
        """Make the function for a collection."""
        raise NotImplementedError


def asked(block: Sequence[Candidates]) -> list[Asked]:
    """Return the queries of a block with their documents."""
    return [(each.query, each.docids) for each in block]


def scored_by(searcher: Any) -> Signal:
    """Return the signal that is a searcher's score."""
    return lambda block: searcher.scores(asked(block))


def check_scores_any(run: Any) -> None:
    """ValueError for a file or a fusion, which have scores for some documents only."""
    if isinstance(run, str) or (run is not None and SEARCHERS.name_of(run) == "fuse"):
        raise ValueError("run: a file or a fusion has scores for some documents only; use `bm25` or `dense`")
