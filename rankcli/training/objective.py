"""The objective of a training step: a weighted sum of named terms, each the mean of a loss over a task's groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rankcli.backend import tf
from rankcli.encoders.dropout import Dropout
from rankcli.errors import TrainingError
from rankcli.hooks.base import Hook, has
from rankcli.losses.base import Loss
from rankcli.rerankers.base import Reranker
from rankcli.schedules.ramp import Ramp
from rankcli.shapes import Batch, Outputs, StepContext
from rankcli.training.base import TRAIN

OTHER_TASKS = 1 << 20  # keeps the dropout keys of further tasks apart from those of layers


class Objective:
    """The loss of every task, with its name, and the losses that hooks add.

    `names` has the name of each term: `TASK/LOSS`, or `LOSS` alone for a single task. `weights` has the task of each
    term and its factor within the task. `measures` has the names of the hooks' measures of the tasks.
    """

    def __init__(self, losses: Mapping[str, tuple[str, Loss]], hooks: Sequence[Hook] = ()) -> None:
        adding = [hook for hook in hooks if has(hook, "loss")]
        self._measuring = [hook for hook in hooks if has(hook, "measure")]
        self._losses = {task: (loss, *(hook.loss for hook in adding)) for task, (_, loss) in losses.items()}
        self.names: list[str] = []
        self.weights: list[tuple[str, float | Ramp]] = []
        self.measures: list[str] = []
        for task, (name, _) in losses.items():
            self.names += numbered([_named(task, name), *(_named(task, hook.name) for hook in adding)])
            self.weights += [(task, 1.0), *((task, hook.weight) for hook in adding)]
            self.measures += [_named(task, name) for hook in self._measuring for name in hook.measures]

    def __call__(
        self,
        reranker: Reranker,
        batches: Mapping[str, Batch],
        dropout: Dropout | None,
        groups: Mapping[str, Any],
        step: StepContext,
    ) -> tuple[list[Any], dict[str, Outputs]]:
        """Return the terms of one batch per task, one device's share of each, and the reranker's outputs for the
        batches.

        `groups` counts the groups of each task on all devices together: the sum of a term over the devices is the mean.
        """
        terms, outputs = [], {}
        for number, (task, losses) in enumerate(self._losses.items()):
            own = dropout.fold(OTHER_TASKS + number) if dropout is not None and number else dropout
            outputs[task] = reranker(batches[task], own)
            terms += [tf.reduce_sum(loss(batches[task], outputs[task], step)) / groups[task] for loss in losses]
        return terms, outputs

    def measured(self, batches: Mapping[str, Batch], outputs: Mapping[str, Outputs], step: StepContext) -> Any:
        """Return the sum and the count of each of `measures`, float32 [M, 2]."""
        pairs = [
            pair
            for task in outputs
            for hook in self._measuring
            for pair in ordered(hook, hook.measure(batches[task], outputs[task], step), hook.measures)
        ]
        return tf.stack([tf.stack(pair) for pair in pairs]) if pairs else tf.zeros([0, 2])


def ordered(hook: Hook, found: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    """Return the values that a hook returned, in the order of its declared names; TrainingError where names differ."""
    if set(found) != set(names):
        raise TrainingError(f"hook {hook.name!r} logs {sorted(found)}, but declares {sorted(names)}")
    return [found[name] for name in names]


def _named(task: str, name: str) -> str:
    return name if task == TRAIN else f"{task}/{name}"


def numbered(names: Sequence[str]) -> list[str]:
    """Return the names, with ` (2)` after the second of equal ones, and so on."""
    counts = [names[: n + 1].count(name) for n, name in enumerate(names)]
    return [f"{name} ({count})" if count > 1 else name for name, count in zip(names, counts, strict=True)]
