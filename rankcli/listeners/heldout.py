"""The training loss on queries that are not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rankcli.backend import tf
from rankcli.config.registry import LISTENERS, option
from rankcli.config.types import NonNegativeFloat, PositiveInt
from rankcli.data.trec import ranking
from rankcli.errors import ConfigError, DataError
from rankcli.evaluation.interpolate import Scores
from rankcli.listeners.base import DEV, ListenerContext, Measured, Measuring, Moment, Training, Vote
from rankcli.log import say
from rankcli.samplers.base import SamplerContext
from rankcli.shapes import Batch, Judged, Outputs, Sample, StepContext


@LISTENERS.register("heldout")
@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Takes the training loss, without dropout, on groups that the run's sampler draws from dev queries, among their
    reranked candidates: the same groups every time.

    With `patience` it votes: to stop once the loss has not fallen by more than `min_delta` in `patience` times in a
    row, and not to stop before.
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
        """Make the listener; ConfigError where several tasks are trained, which have no one loss, and for a loss that
        needs more than the labels and scores of a group.
        """
        if ctx.sampler is None or ctx.loss is None:
            raise ConfigError("there is no one loss of several tasks", where=ctx.where, fix="leave `heldout` out")
        if ctx.loss.in_batch or ctx.loss.columns or ctx.loss.reads != ("scores",):
            what = "the training loss needs more than the labels and scores of single groups"
            raise ConfigError(what, where=ctx.where, fix="leave `heldout` out")
        return HeldOutLoss(self, ctx)


class HeldOutLoss(Measuring):
    """The dev set is scored once for this and its validation: no text is read, and no batch computed, beside it."""

    def __init__(self, options: HeldOut, ctx: ListenerContext) -> None:
        self.options, self.ctx, self.interval = options, ctx, options.interval or ctx.validatefreq
        self.best: dict[str, Any] = {}  # iteration and value of the lowest loss
        self.mark: float | None = None
        self.waited = 0

    def after_initialisation(self, training: Training) -> None:
        """Take what scores."""
        self.training, self.loss = training, self.ctx.loss.build()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the lowest loss, and the patience that is left."""
        self.best, self.mark, self.waited = dict(state["best"]), state["mark"], state["waited"]

    def state(self) -> dict[str, Any]:
        """The lowest loss, and the patience that is used up."""
        return {"best": self.best, "mark": self.mark, "waited": self.waited}

    def due(self, iteration: int) -> bool:
        """Every `interval` iterations, and after the last."""
        return iteration % self.interval == 0 or iteration == self.ctx.iterations

    def validate(self, now: Moment) -> Measured:
        """The mean of the loss over the groups."""
        scores = self.training.scores(DEV)
        groups = self.drawn(scores)
        found = [[scores[group.qid][docid] for docid in group.docids] for group in groups]
        labels = np.array([group.labels for group in groups], np.float32)
        batch = Batch(labels, np.ones(labels.shape, bool), {}, {})
        loss = float(tf.reduce_mean(self.loss(batch, Outputs(tf.constant(found, tf.float32)), StepContext())))
        if not self.best or loss < self.best["value"]:
            self.best = {"iter": now.iteration, "value": loss}
        if self.mark is None or loss < self.mark - self.options.min_delta:
            self.mark, self.waited = loss, 0
        else:
            self.waited += 1
        say(f"iteration {now.iteration}: held-out loss {loss:.4f}")
        return Measured("heldout", "heldout", {"loss": loss})

    def drawn(self, scores: Scores) -> list[Sample]:
        """The groups, of the documents that have scores; a pure function of the dev set, the seed and the sampler."""
        dev = self.ctx.dev[DEV]
        qrels = {qid: {d: grade for d, grade in dev.qrels.get(qid, {}).items() if d in scores[qid]} for qid in scores}
        qids = tuple(
            qid
            for qid, grades in qrels.items()
            if 0 < sum(grade >= dev.relevance_level for grade in grades.values()) < len(scores[qid])
        )
        if not qids:
            raise DataError("no dev query has both a relevant candidate and one that is not", where=self.ctx.where)
        run = {qid: tuple(docid for docid in ranking(dev.first_stage[qid]) if docid in scores[qid]) for qid in qids}
        judged = Judged(qids=qids, qrels=qrels, run=run)
        sampler = self.ctx.sampler.build(SamplerContext(judged, dev.relevance_level, self.ctx.seed))
        return [sampler(n) for n in range(self.options.groups)]

    def vote(self) -> Vote:
        """To stop when patience is used up, not to stop before; nothing without `patience`."""
        if self.options.patience is None:
            return Vote.NO_DECISION
        return Vote.STOP if self.waited >= self.options.patience else Vote.DONT_STOP

    def reason(self) -> str:
        """What has not fallen, for how long."""
        return f"{self.ctx.name}: the held-out loss has not fallen below {self.mark:.4f} in {self.waited} times"

    def result(self) -> dict[str, Any]:
        """The lowest loss and its iteration."""
        return {"best": self.best}
