"""The training loss on queries that are not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rankcli.backend import tf
from rankcli.config.registry import LISTENERS, option
from rankcli.config.types import NonNegativeFloat, PositiveInt
from rankcli.data.trec import ranked
from rankcli.errors import ConfigError, DataError
from rankcli.evaluation.interpolate import Scores
from rankcli.listeners.base import DEV, ListenerContext, Measured, Measuring, Moment, Training, Vote
from rankcli.listeners.patience import Patience
from rankcli.log import say
from rankcli.samplers.base import SamplerContext
from rankcli.shapes import Batch, Judged, Outputs, Sample, StepContext


@LISTENERS.register("heldout")
@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Computes the training loss, without dropout, on held-out groups.

    The run's sampler draws them from dev queries, among their reranked candidates; they are the same every time. With
    `patience` it votes: to stop once the loss has not fallen by more than `min_delta` in `patience` times in a row, and
    not to stop before.
    """

    version: ClassVar[int] = 1
    groups: PositiveInt = option(256, "groups that are drawn")
    interval: PositiveInt | None = option(None, "iterations from one time to the next; default `validatefreq`")
    patience: PositiveInt | None = option(
        None, "times in a row without a lower loss, to vote for a stop; default: no vote"
    )
    min_delta: NonNegativeFloat = option(0.0, "what a lower loss must be lower by, to be patient anew")

    def __post_init__(self) -> None:
        if self.min_delta and self.patience is None:
            raise ValueError("min_delta does nothing without patience")

    def build(self, ctx: ListenerContext) -> Measuring:
        """Build the listener.

        ConfigError for several tasks, which have no common loss, for a loss that needs more than the labels and scores
        of a group, and for a sampler of documents without scores.
        """
        if ctx.sampler is None or ctx.loss is None:
            raise ConfigError("there is no one loss of several tasks", where=ctx.where, fix="leave `heldout` out")
        if ctx.sampler.draws_docs:
            what = "the sampler draws from the whole collection, of which only candidates have scores"
            raise ConfigError(what, where=ctx.where, fix="leave `heldout` out")
        if ctx.loss.in_batch or ctx.loss.columns or ctx.loss.reads != ("scores",):
            what = "the training loss needs more than the labels and scores of single groups"
            raise ConfigError(what, where=ctx.where, fix="leave `heldout` out")
        return HeldOutLoss(self, ctx)


class HeldOutLoss(Measuring):
    """Uses the dev scores of the validation, so it reads no text and computes no batch of its own."""

    def __init__(self, options: HeldOut, ctx: ListenerContext) -> None:
        self.options, self.ctx, self.interval = options, ctx, options.interval or ctx.validatefreq
        self.best: dict[str, Any] = {}  # iteration and value of the lowest loss
        self.patience = Patience("below", options.patience, options.min_delta)

    def after_initialisation(self, training: Training) -> None:
        """Keep the training, for its scores."""
        self.training, self.loss = training, self.ctx.loss.build()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the lowest loss and the patience."""
        best = state["best"]
        self.best = {**best, "value": float(best["value"])} if best else {}
        self.patience.restore(state)

    def state(self) -> dict[str, Any]:
        """Return the lowest loss and the patience."""
        return {"best": self.best, **self.patience.state()}

    def due(self, iteration: int) -> bool:
        """True every `interval` iterations, and after the last."""
        return iteration % self.interval == 0 or iteration == self.ctx.iterations

    def validate(self, now: Moment) -> Measured:
        """Return the mean of the loss over the groups."""
        scores = self.training.scores(DEV)
        groups = self.drawn(scores)
        found = _padded([[scores[group.qid][docid] for docid in group.docids] for group in groups])
        labels = _padded([group.labels for group in groups])
        mask = _padded([[1.0] * len(group.docids) for group in groups]) > 0
        loss = float(tf.reduce_mean(self.loss(Batch(labels, mask, {}, {}), Outputs(tf.constant(found)), StepContext())))
        if not self.best or loss < self.best["value"]:
            self.best = {"iter": now.iteration, "value": loss}
        self.patience.see(loss)
        say(f"iteration {now.iteration}: held-out loss {loss:.4f}")
        return Measured("heldout", "heldout", {"loss": loss})

    def drawn(self, scores: Scores) -> list[Sample]:
        """Draw the groups from documents with scores; a pure function of the dev set, the seed and the sampler.

        DataError if no query has both a relevant and a non-relevant candidate.
        """
        dev = self.ctx.dev[DEV]
        qrels = {qid: {d: grade for d, grade in dev.qrels.get(qid, {}).items() if d in scores[qid]} for qid in scores}
        qids = tuple(
            qid
            for qid, grades in qrels.items()
            if 0 < sum(grade >= dev.relevance_level for grade in grades.values()) < len(scores[qid])
        )
        if not qids:
            raise DataError("no dev query has both a relevant candidate and one that is not", where=self.ctx.where)
        first = dev.first_stage
        run = {qid: ranked({d: score for d, score in first[qid].items() if d in scores[qid]}) for qid in qids}
        judged = Judged(qids=qids, qrels=qrels, run=run)
        sampler = self.ctx.sampler.build(SamplerContext(judged, dev.relevance_level, self.ctx.seed))
        return [sampler(n) for n in range(self.options.groups)]

    def vote(self) -> Vote:
        """Vote to stop when the patience is used up, not to stop before; no decision without `patience`."""
        return self.patience.vote()

    def reason(self) -> str:
        """Return the value that the loss has not fallen below, and for how many times."""
        mark, waited = self.patience.mark, self.patience.waited
        return f"{self.ctx.name}: the held-out loss has not fallen below {mark:.4f} in {waited} times"

    def result(self) -> dict[str, Any]:
        """Return the lowest loss and its iteration."""
        return {"best": self.best}


def _padded(rows: Sequence[Sequence[float]]) -> Any:
    """Rows of different lengths as one float32 array, with 0 behind the shorter ones."""
    found = np.zeros((len(rows), max(map(len, rows))), np.float32)
    for n, row in enumerate(rows):
        found[n, : len(row)] = row
    return found
