"""The negatives of a query from all sources that the options weigh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rankcli.data.scores import read_scores
from rankcli.data.source import DocIds
from rankcli.data.trec import read_run
from rankcli.errors import ConfigError, DataError
from rankcli.samplers._draw import Draws
from rankcli.samplers._negatives import Collection, Listed, Negatives, Places, available, draw_from
from rankcli.samplers.base import SamplerContext
from rankcli.shapes import Judged


@dataclass(frozen=True)
class Mined:
    """The sources of negatives of every query, and the documents that are barred from them."""

    options: Negatives
    judged: Judged
    relevance_level: int
    scores: Mapping[str, Mapping[str, float]] | None
    others: Listed
    collection: Places
    runs: Sequence[Mapping[str, tuple[str, ...]]] = ()  # the candidates of more runs by query

    def usable(self, qid: str, positives: Sequence[str], retrieved: Sequence[str]) -> tuple[str, ...]:
        """Those of the relevant documents beside which there is a negative."""
        sources = self._sources(qid, retrieved)
        return tuple([docid for docid in positives if available(sources, self._barred(qid, (docid,)))])

    def draw(self, qid: str, positives: Sequence[str], retrieved: Sequence[str], draws: Draws, count: int) -> list[str]:
        """Draw at most `count` negatives of a group with some relevant documents."""
        return draw_from(self._sources(qid, retrieved), self._barred(qid, positives), draws, count)

    def _sources(self, qid: str, retrieved: Sequence[str]) -> list[tuple[float, Places]]:
        candidates = dict.fromkeys([*retrieved, *(docid for run in self.runs for docid in run.get(qid, ()))])
        places = (Listed.of([*candidates]), Listed.of(self._judged_low(qid)), self.others, self.collection)
        return list(zip(self.options.weights, places, strict=True))

    def _judged_low(self, qid: str) -> list[str]:
        grades = self.judged.qrels.get(qid, {})
        return sorted(docid for docid, grade in grades.items() if grade < self.relevance_level)

    def _barred(self, qid: str, positives: Sequence[str]) -> set[str]:
        """Relevant documents, and those that score too high."""
        barred = self.options.barred(self._scores(qid), positives) if self.options.guarded else set()
        return barred | relevant_to(self.judged, qid, self.relevance_level)

    def _scores(self, qid: str) -> Mapping[str, float]:
        if self.scores is not None:
            return self.scores.get(qid, {})
        found = self.judged.run.get(qid)
        return {} if found is None else dict(zip(found.docids, found.scores.tolist(), strict=True))


def relevant_to(judged: Judged, qid: str, relevance_level: int) -> set[str]:
    """The documents that are judged relevant to a query."""
    return {docid for docid, grade in judged.qrels.get(qid, {}).items() if grade >= relevance_level}


def _candidates(ctx: SamplerContext, path: str, ranks: slice) -> dict[str, tuple[str, ...]]:
    """The documents of the collection at some ranks of a run, for the training queries."""
    run = read_run(path, dict.fromkeys(ctx.judged.qids, ranks.stop)).part(ctx.judged.qids).by_query
    if not run:
        raise DataError("it has no training query", where=path, fix="check that query ids are written alike")
    found = {qid: each.docids[ranks] for qid, each in run.items()}
    if ctx.docs is None:
        return found
    return {qid: _known(ctx.docs, docids) for qid, docids in found.items()}


def _known(docs: DocIds, docids: tuple[str, ...]) -> tuple[str, ...]:
    pairs = zip(docids, docs.ordinals(docids).tolist(), strict=True)
    return tuple([docid for docid, ordinal in pairs if ordinal >= 0])


def mined(ctx: SamplerContext, options: Negatives, ranks: slice = slice(None)) -> Mined | None:
    """The sources that options weigh, and more runs at some ranks; None for the candidates alone, which pools have."""
    if options.plain:
        return None
    if ctx.triples is not None:
        raise ConfigError(
            "negatives of training triples come from the triples alone",
            where="sampler.negatives",
            fix="leave negatives out, or train on judgments (data.qrels) without data.triples",
        )
    if options.random and ctx.docs is None:
        raise ConfigError(
            "there is no collection to draw from",
            where="sampler.negatives.random",
            fix="give data.docs, or leave it out",
        )
    judged, level = ctx.judged, ctx.relevance_level
    others = sorted(
        {docid for qid in judged.qids for docid in relevant_to(judged, qid, level)} if options.others else ()
    )
    return Mined(
        options=options,
        judged=judged,
        relevance_level=level,
        scores=None if options.scores is None else read_scores(options.scores),
        others=Listed.of(others),
        collection=Listed.of(()) if ctx.docs is None else Collection(ctx.docs),
        runs=[_candidates(ctx, path, ranks) for path in options.runs],
    )
