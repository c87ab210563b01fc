"""The groups of another sampler with a teacher's scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from rankcli import log
from rankcli.config.registry import SAMPLERS, component, option
from rankcli.data.scores import read_scores
from rankcli.errors import ConfigError, DataError
from rankcli.samplers.base import Sampler, SamplerContext, SamplerOptions
from rankcli.shapes import Judged, Ranked, Sample

TEACHER = "teacher"


@dataclass(frozen=True)
class _Scored:
    base: Sampler
    scores: Mapping[str, Mapping[str, float]]

    def __call__(self, n: int) -> Sample:
        sample = self.base(n)
        known = self.scores[sample.qid]
        taught = tuple([known[docid] for docid in sample.docids])
        return replace(sample, columns={**sample.columns, TEACHER: taught})


@SAMPLERS.register("scored")
@dataclass(frozen=True, kw_only=True)
class Scored(SamplerOptions):
    """The groups that `base` draws from the documents that a teacher scored, with its scores as the column `teacher`.

    Other documents are left out, relevant or not, as if they were neither judged nor retrieved; so ranks count those
    that the teacher scored. What is drawn is distributed as `base` says, whose negatives must be candidates or judged.
    """

    version: ClassVar[int] = 1
    scores: str = option(help="a run, or JSONL of {query-id, corpus-id, score}, with the teacher's scores", path="file")
    base: Any = component(SAMPLERS, "LCE", "the sampler that draws the groups")

    def __post_init__(self) -> None:
        if TEACHER in self.base.gives:
            raise ValueError(f"base {SAMPLERS.name_of(self.base)!r} gives a teacher's scores itself")
        if self.base.draws_docs:
            raise ValueError("base must draw its negatives from candidates or judgments: the teacher scored no others")

    @property
    def gives(self) -> tuple[str, ...]:
        """The columns of `base`, and `teacher`."""
        return (*self.base.gives, TEACHER)

    @property
    def group_size(self) -> int:
        """Documents per group."""
        return int(self.base.group_size)

    @property
    def depth(self) -> int | None:
        """All ranks: how many have scores is not known before."""
        return None

    def build(self, ctx: SamplerContext) -> Sampler:
        """The sampler over the scored documents of `ctx`; ConfigError with training triples."""
        if ctx.triples is not None:
            what = "a teacher's scores go with judgments and candidates, not with training triples"
            raise ConfigError(what, where="sampler", fix="leave data.triples out")
        scores = read_scores(self.scores).part(ctx.judged.qids)
        judged = _scored_part(ctx.judged, scores, self.scores)
        base = self.base.build(replace(ctx, judged=judged, columns=ctx.columns - {TEACHER}))
        return _Scored(base, scores) if TEACHER in ctx.columns else base


def _scored_part(judged: Judged, scores: Mapping[str, Mapping[str, float]], where: str) -> Judged:
    """The judgments and candidates that have scores, and a line about the share that has."""
    qrels, run = {}, {}
    for qid, known in scores.items():
        qrels[qid] = {docid: grade for docid, grade in judged.qrels.get(qid, {}).items() if docid in known}
        run[qid] = _part(judged.run[qid], known) if qid in judged.run else Ranked((), np.zeros(0, np.float32))
    if not qrels:
        raise DataError("it has no training query", where=where, fix="score the training queries, by their ids")
    queries, pairs = len(judged.qids), sum(len(judged.run[qid].docids) for qid in judged.qids if qid in judged.run)
    scored = sum(len(found.docids) for found in run.values())
    log.say(f"{where}: scores of {len(qrels)} of {queries} training queries and {scored} of their {pairs} candidates")
    return Judged(tuple(qid for qid in judged.qids if qid in qrels), qrels, run)


def _part(ranked: Ranked, known: Mapping[str, float]) -> Ranked:
    places = [place for place, docid in enumerate(ranked.docids) if docid in known]
    return Ranked(tuple([ranked.docids[place] for place in places]), ranked.scores[places])
