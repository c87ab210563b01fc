"""What listeners may ask of a training: scores of the weights as they are, and to keep these weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from rankcli.evaluation.interpolate import Scores
from rankcli.rerankers._base import Reranker
from rankcli.rerankers._saved import save_reranker
from rankcli.trainers._base import TrainerContext
from rankcli.trainers._predict import Predictor


class Access:
    """The `Training` that listeners are given.

    `starts` says when each optimizer group starts to train; `on_batch` is called after every batch scored, and may
    raise; `before_keep` makes sure that a run that is killed from then on goes on with these weights, not with older
    ones.
    """

    def __init__(
        self,
        ctx: TrainerContext,
        reranker: Reranker,
        predictor: Predictor,
        starts: Mapping[str, int],
        on_batch: Callable[[], None],
        before_keep: Callable[[], None],
    ) -> None:
        self._ctx, self._reranker, self._predictor, self._starts = ctx, reranker, predictor, dict(starts)
        self._on_batch, self._before_keep = on_batch, before_keep
        self._scored: dict[str, Scores] = {}

    @property
    def starts(self) -> Mapping[str, int]:
        """By optimizer group, the global step at which it starts to train."""
        return self._starts

    def renew(self) -> None:
        """The weights have changed: forget what they scored."""
        self._scored.clear()

    def scores(self, name: str) -> Scores:
        """The scores of a dev set; they are computed once, whoever asks for them."""
        if name not in self._scored:
            records = self._ctx.dev[name].records
            self._scored[name] = self._predictor.scores(records, f"validating on {name}", self._on_batch)
        return self._scored[name]

    def keep(self, path: Path) -> None:
        """Save the weights as a model directory."""
        self._before_keep()
        save_reranker(self._reranker, self._ctx.extractor, dict(self._ctx.sections), self._ctx.out / path)
