"""What a training step minimises: the weighted sum of named terms, the mean of a loss over a task's groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rankcli.backend import tf
from rankcli.encoders.dropout import Dropout
from rankcli.hooks.base import ScoreLoss
from rankcli.rerankers.base import Reranker
from rankcli.shapes import Batch
from rankcli.training.base import TRAIN, Share

OTHER_TASKS = 1 << 20  # dropout keys of further tasks are apart from those of layers


class Term(NamedTuple):
    """A part of what is minimised, and its factor."""

    value: Any
    weight: Any


class Objective:
    """The losses of every task, by name: `NAME/LOSS`, of a single task `LOSS` alone."""

    def __init__(self, tasks: Mapping[str, Sequence[ScoreLoss]]) -> None:
        self.tasks = {task: dict(zip(_names(task, losses), losses, strict=True)) for task, losses in tasks.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the terms, in their order."""
        return tuple(name for losses in self.tasks.values() for name in losses)

    def __call__(
        self,
        reranker: Reranker,
        batches: Mapping[str, Batch],
        dropout: Dropout | None,
        shares: Mapping[str, Share],
    ) -> dict[str, Term]:
        """The terms of one batch per task, one device's share of each: their sum over all of them is the mean."""
        terms = {}
        for number, (task, losses) in enumerate(self.tasks.items()):
            batch, share = batches[task], shares[task]
            own = dropout.fold(OTHER_TASKS + number) if dropout is not None and number else dropout
            scores = reranker.scores(batch, own)
            for name, loss in losses.items():
                value = tf.reduce_sum(loss.function(batch, scores)) / share.groups
                terms[name] = Term(value, share.weight * loss.weight)
        return terms


def _names(task: str, losses: Sequence[ScoreLoss]) -> list[str]:
    return numbered([loss.name if task == TRAIN else f"{task}/{loss.name}" for loss in losses])


def numbered(names: Sequence[str]) -> list[str]:
    """The names with ` (2)` behind the second of a kind, and so on."""
    counts = [names[: n + 1].count(name) for n, name in enumerate(names)]
    return [f"{name} ({count})" if count > 1 else name for name, count in zip(names, counts, strict=True)]
