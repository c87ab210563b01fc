"""The interface of a training for listeners: scores of the present weights, and saving these weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rankcli.config.registry import LOSSES
from rankcli.evaluation.interpolate import Scores
from rankcli.rerankers.base import Reranker
from rankcli.rerankers.saved import save_reranker
from rankcli.shapes import Example
from rankcli.training.base import TRAIN, TrainerContext, TrainingSet
from rankcli.training.divergence import check_scores, groups_of
from rankcli.training.predict import Scorer


class TrainingHandle:
    """The `Training` that listeners receive.

    `starts` has the global step at which each optimizer group starts to train. `equal_losses` are the losses for equal
    scores, `batches` the number of groups of each task in a step. `on_batch` is called after every batch scored, and
    may raise. `before_keep` is called before weights are saved: it makes sure that a run killed later resumes from
    these weights and not from older ones.
    """

    def __init__(
        self,
        ctx: TrainerContext,
        reranker: Reranker,
        scorer: Scorer,
        starts: Mapping[str, int],
        equal_losses: Mapping[str, float],
        batches: Mapping[str, int],
        on_batch: Callable[[], None],
        before_keep: Callable[[], None],
    ) -> None:
        self._ctx, self._reranker, self._scorer = ctx, reranker, scorer
        self.starts, self.equal_losses = starts, equal_losses
        self._batches, self._on_batch, self._before_keep = batches, on_batch, before_keep
        self._scored: dict[str, Scores] = {}

    def renew(self) -> None:
        """Forget the scores of a validation, because the weights have changed."""
        self._scored.clear()

    def scores(self, name: str) -> Scores:
        """Return the scores of a dev set. They are computed once per validation."""
        if name not in self._scored:
            records = self._ctx.dev[name].records
            scores = self._scorer.scores(records, f"validating on {name}", self._on_batch)
            check_scores(scores, name, self._ctx.out)
            self._scored[name] = scores
        return self._scored[name]

    def groups(self, step: int) -> Iterator[tuple[str, Example]]:
        """Read the groups of a step, counted from 0, again: the task and the group, in the order of the samples."""
        return groups_of(self._ctx.train, self._batches, step)

    def keep(self, path: Path) -> None:
        """Save the weights as a model directory."""
        self._before_keep()
        save_reranker(self._reranker, self._ctx.extractor, dict(self._ctx.sections), self._ctx.out / path)


def equal_losses(losses: Mapping[str, Any], train: Mapping[str, TrainingSet]) -> dict[str, float]:
    """Return the loss of an untrained model (equal scores in a group) by logged name, for the losses where it is known.

    It is ln K for a softmax over K documents, and ln 2 for a sigmoid on one. Without any sample there is no loss.
    """
    found = {}
    for task, options in losses.items():
        kind, manifest = LOSSES.name_of(options), train[task].records.manifest
        if not manifest.samples:
            continue
        softmax, sigmoid = math.log(manifest.documents / manifest.samples), math.log(2)
        known = {"lce": softmax, "crossentropy": sigmoid, "bce": sigmoid}
        if kind in known:
            found[kind if task == TRAIN else f"{task}/loss"] = known[kind]
    return found
