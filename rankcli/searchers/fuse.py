"""Several first stages fused to one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, ClassVar, Literal

from rankcli.config.registry import SEARCHERS, components, option
from rankcli.config.types import PositiveFloat, PositiveInt
from rankcli.data.joins import join_run
from rankcli.data.scales import normalise, standardise
from rankcli.data.source import Documents
from rankcli.data.trec import CompactRun, Run, ranking, read_run
from rankcli.searchers.base import Searcher, SearcherContext

RRF_K = 60  # of the paper
Scores = Mapping[str, float]


@SEARCHERS.register("fuse")
@dataclass(frozen=True, kw_only=True)
class Fuse:
    """Several runs fused to one, over the documents of any of them.

    `rrf`: sum of share / (60 + rank), nothing for a run without the document (Cormack, Clarke and Buettcher 2009).
    `minmax`, `zscore`: sum of share * scaled score, per query and run scaled to 0..1, or to mean 0 and deviation 1; a
    run without the document gives it its lowest score. `union`: the first documents of all runs, in the order of the
    runs, then the second ones, and so on, each where it comes first; the score is 1 / rank, and shares do not count.
    """

    version: ClassVar[int] = 1

    runs: Any = components(SEARCHERS, "two or more run files or searchers")
    method: Literal["rrf", "minmax", "zscore", "union"] = option("rrf", "how the scores of a document are added")
    shares: tuple[PositiveFloat, ...] = option((), "a factor for each run, such as [0.7, 0.3]; default: 1 each")
    k: PositiveInt = option(1000, "documents returned per query")

    def __post_init__(self) -> None:
        if len(self.runs) < 2:
            raise ValueError("runs must be two or more")
        if self.shares and self.method == "union":
            raise ValueError("method union has no scores to multiply: leave shares out")
        if self.shares and len(self.shares) != len(self.runs):
            raise ValueError(f"shares must have a number for each of the {len(self.runs)} runs")

    def build(self, ctx: SearcherContext) -> Searcher:
        """Build the searchers, and read the run files."""
        parts = [_Given(run, ctx.docs) if isinstance(run, str) else run.build(ctx) for run in self.runs]
        return _Fused(self, parts)

    def fused(self, parts: Sequence[Scores]) -> dict[str, float]:
        """Return the best documents of one query, best first, from its scores in every run."""
        found = METHODS[self.method](parts, self.shares or (1.0,) * len(parts))
        return {docid: found[docid] for docid in ranking(found)[: self.k]}


@dataclass(frozen=True)
class _Given:
    """A run in a file, as a searcher."""

    path: str
    docs: Documents

    def search(self, queries: Mapping[str, str]) -> Run:
        return join_run(read_run(self.path), queries, self.docs, self.path)


@dataclass(frozen=True)
class _Fused:
    options: Fuse
    parts: Sequence[Searcher]

    def search(self, queries: Mapping[str, str]) -> Run:
        runs = [part.search(queries) for part in self.parts]
        return CompactRun.of((qid, self.options.fused([run.get(qid, {}) for run in runs])) for qid in queries)


def _reciprocal(parts: Sequence[Scores], shares: Sequence[float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for scores, share in zip(parts, shares, strict=True):
        for rank, docid in enumerate(ranking(scores), 1):
            found[docid] = found.get(docid, 0.0) + share / (RRF_K + rank)
    return found


def _summed(scale: Callable[[Scores], dict[str, float]]) -> Callable[[Sequence[Scores], Sequence[float]], Scores]:
    def add(parts: Sequence[Scores], shares: Sequence[float]) -> dict[str, float]:
        scaled = [scale(scores) for scores in parts]
        known = [(share, part, min(part.values(), default=0.0)) for share, part in zip(shares, scaled, strict=True)]
        docids = dict.fromkeys(docid for scores in parts for docid in scores)
        return {docid: sum(share * part.get(docid, lowest) for share, part, lowest in known) for docid in docids}

    return add


def _interleaved(parts: Sequence[Scores], shares: Sequence[float]) -> dict[str, float]:
    order = dict.fromkeys(_in_turn(parts))
    return {docid: 1 / rank for rank, docid in enumerate(order, 1)}


def _in_turn(parts: Sequence[Scores]) -> Iterator[str]:
    for row in zip_longest(*map(ranking, parts)):
        yield from (docid for docid in row if docid is not None)


METHODS: dict[str, Callable[[Sequence[Scores], Sequence[float]], Scores]] = {
    "rrf": _reciprocal,
    "minmax": _summed(normalise),
    "zscore": _summed(standardise),
    "union": _interleaved,
}
