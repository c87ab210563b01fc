"""What listeners may ask of a training: scores of the weights as they are, and to keep these weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rankcli.config.registry import LOSSES
from rankcli.evaluation.interpolate import Scores
from rankcli.rerankers.base import Reranker
from rankcli.rerankers.saved import save_reranker
from rankcli.training.base import TRAIN, TrainerContext, TrainingSet
from rankcli.training.divergence import check_scores
from rankcli.training.predict import Predictor


class TrainingHandle:
    """The `Training` that listeners are given.

    `starts` says when each optimizer group starts to train, `equal_losses` what losses are where scores are equal;
    `on_batch` is called after every batch scored, and may raise; `before_keep` makes sure that a run that is killed
    from then on goes on with these weights, not with older ones.
    """

    def __init__(
        self,
        ctx: TrainerContext,
        reranker: Reranker,
        predictor: Predictor,
        starts: Mapping[str, int],
        equal_losses: Mapping[str, float],
        on_batch: Callable[[], None],
        before_keep: Callable[[], None],
    ) -> None:
        self._ctx, self._reranker, self._predictor = ctx, reranker, predictor
        self.starts, self.equal_losses = starts, equal_losses
        self._on_batch, self._before_keep = on_batch, before_keep
        self._scored: dict[str, Scores] = {}

    def renew(self) -> None:
        """The weights have changed: forget what they scored."""
        self._scored.clear()

    def scores(self, name: str) -> Scores:
        """The scores of a dev set; they are computed once, whoever asks for them."""
        if name not in self._scored:
            records = self._ctx.dev[name].records
            scores = self._predictor.scores(records, f"validating on {name}", self._on_batch)
            check_scores(scores, name, self._ctx.out)
            self._scored[name] = scores
        return self._scored[name]

    def keep(self, path: Path) -> None:
        """Save the weights as a model directory."""
        self._before_keep()
        save_reranker(self._reranker, self._ctx.extractor, dict(self._ctx.sections), self._ctx.out / path)


def equal_losses(losses: Mapping[str, Any], train: Mapping[str, TrainingSet]) -> dict[str, float]:
    """What the losses (options) of tasks are where the scores of a group are equal, by the names of what is logged; of
    those only for which that is known: ln K for a softmax over K documents, ln 2 for a sigmoid on one.
    """
    found = {}
    for task, options in losses.items():
        kind, manifest = LOSSES.name_of(options), train[task].records.manifest
        softmax, sigmoid = math.log(manifest.documents / manifest.samples), math.log(2)
        known = {"lce": softmax, "crossentropy": sigmoid, "bce": sigmoid}
        if kind in known:
            found[kind if task == TRAIN else f"{task}/loss"] = known[kind]
    return found
