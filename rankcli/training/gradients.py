"""The objective of a training step, and its gradients, in one piece or in micro-batches to need less memory.

The objective is a weighted sum of named terms, each the mean of a loss over a task's groups.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rankcli.backend import tf
from rankcli.encoders.dropout import Dropout
from rankcli.errors import TrainingError
from rankcli.hooks.base import Hook, has
from rankcli.losses.base import Loss
from rankcli.rerankers.base import Reranker
from rankcli.schedules.ramp import Ramp
from rankcli.shapes import Batch, Outputs, StepContext
from rankcli.training.base import TRAIN, StepInputs

OTHER_TASKS = 1 << 20  # keeps the dropout keys of further tasks apart from those of layers


class Objective:
    """The loss of every task, with its name, and the losses that hooks add.

    `tasks` has the names of the tasks. `names` has the name of each term: `TASK/LOSS`, or `LOSS` alone for a single
    task. `weights` has the task of each term and its factor within the task. `measures` has the names of the hooks'
    measures of the tasks, `shown` those of hooks that want them in the progress line.
    """

    def __init__(self, losses: Mapping[str, tuple[str, Loss]], hooks: Sequence[Hook] = ()) -> None:
        adding = [hook for hook in hooks if has(hook, "loss")]
        self._measuring = [hook for hook in hooks if has(hook, "measure")]
        self._losses = {task: (loss, *(hook.loss for hook in adding)) for task, (_, loss) in losses.items()}
        self.tasks = tuple(losses)
        self.names: list[str] = []
        self.weights: list[tuple[str, float | Ramp]] = []
        self.measures: list[str] = []
        self.shown: list[str] = []
        for task, (name, _) in losses.items():
            self.names += numbered([_named(task, name), *(_named(task, hook.name) for hook in adding)])
            self.weights += [(task, 1.0), *((task, hook.weight) for hook in adding)]
            for hook in self._measuring:
                names = [_named(task, name) for name in hook.measures]
                self.measures += names
                self.shown += names if hook.progress_bar else []

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
            outputs[task] = reranker.outputs(batches[task], own)
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


Batches = Mapping[str, Batch]


class Sums(NamedTuple):
    """Sums over micro-batches and devices.

    `values` [1 + T]: the loss, and its terms without their weights. `gradients`: one per variable. `measured` [M, 2]:
    the sums and counts of hooks.
    """

    values: Any
    gradients: list[Any]
    measured: Any


Outcome = tuple[Sums, Mapping[str, Outputs]]
Backward = Callable[[Batches, Any], Outcome]


def gradients_of(
    objective: Objective,
    reranker: Reranker,
    variables: Sequence[Any],
    batches: Batches,
    dropout: Dropout | None,
    inputs: StepInputs,
    step: StepContext,
    scale: Any = None,
) -> Outcome:
    """Return this replica's share of the sums of a step, and the outputs of its batches.

    Gradients are dense, those of the weighted sum times `scale`; None for a variable that does not influence the sum.
    """
    with tf.GradientTape() as tape:
        terms, outputs = objective(reranker, batches, dropout, inputs.groups, step)
        value = _sum([inputs.weights[n] * term for n, term in enumerate(terms)])
        scaled = value if scale is None else value * scale
    gradients = [dense(gradient) for gradient in tape.gradient(scaled, variables)]
    return Sums(tf.stack([value, *terms]), gradients, objective.measured(batches, outputs, step)), outputs


def with_penalties(
    hooks: Sequence[Hook], weights: Any, variables: Mapping[str, Any], values: Any, gradients: Sequence[Any]
) -> tuple[Any, list[Any]]:
    """Return `values` [1 + T] and the gradients of `variables`, with those of the hooks' penalties added.

    `weights` [T + P] has the factors of the penalties after those of the other terms.
    """
    if not hooks:
        return values, list(gradients)
    with tf.GradientTape() as tape:
        found = [hook.penalty(variables) for hook in hooks]
        total = _sum([weights[n - len(hooks)] * value for n, value in enumerate(found)])
    added = tape.gradient(total, list(variables.values()))
    gradients = [old if new is None else old + new for old, new in zip(gradients, added, strict=True)]
    return tf.concat([[values[0] + total], values[1:], tf.stack(found)], axis=0), gradients


def _sum(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else tf.add_n(values)


def dense(gradient: Any) -> Any:
    """Return a gradient of looked-up rows as one of the whole table, which optimizers with momentum need."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, gradient.dense_shape[0])


def accumulated(part: Backward, zeros: Sums, kept: Sequence[str], batches: Batches, count: int) -> tuple[Sums, Any]:
    """Sum the results of `part(batches, n)` over `count` micro-batches, which are stacked along a new first axis.

    Also return the scores of the tasks `kept`, stacked in the same way. The graph loop runs one iteration at a time:
    unrolled, TensorFlow would run the forward passes of several micro-batches at once and keep all their activations.
    """

    def add(n: Any, sums: Sums, scores: dict[str, Any]) -> tuple[Any, Sums, dict[str, Any]]:
        more, outputs = part(tf.nest.map_structure(lambda leaf: leaf[n], batches), n)
        scores = {task: array.write(n, outputs[task].scores) for task, array in scores.items()}
        return n + 1, tf.nest.map_structure(operator.add, sums, more), scores

    start = (tf.constant(0), zeros, {task: tf.TensorArray(tf.float32, count) for task in kept})
    loop = tf.while_loop(lambda n, *_: n < count, add, start, parallel_iterations=1, maximum_iterations=count)
    return loop[1], {task: array.stack() for task, array in loop[2].items()}


def joined(batches: Batches, scores: Mapping[str, Any]) -> tuple[Batches, dict[str, Outputs]]:
    """Join micro-batches, stacked along a first axis, to one batch per task without fields. Return their scores as
    outputs.
    """
    made = {task: _joined(batches[task]) for task in scores}
    return made, {task: Outputs(_flat(values)) for task, values in scores.items()}


def _joined(batch: Batch) -> Batch:
    columns = {name: _flat(column) for name, column in batch.columns.items()}
    return Batch(_flat(batch.labels), _flat(batch.doc_mask), columns, {})


def _flat(leaf: Any) -> Any:
    return tf.reshape(leaf, tf.concat([[-1], tf.shape(leaf)[2:]], axis=0))


def stacked(batches: Sequence[Batches], count: int) -> list[Batches]:
    """Stack every `count` batches along a new first axis; unchanged if `count` is 1."""
    if count == 1:
        return list(batches)
    return [stack(batches[n : n + count]) for n in range(0, len(batches), count)]


def by_replica(batches: Sequence[Batches], replicas: int) -> list[Batches]:
    """Stack the batches of several steps for each replica. `batches` has one step after the other, with its replicas in
    order.
    """
    return [stack(batches[replica::replicas]) for replica in range(replicas)]


def stack(batches: Sequence[Batches]) -> Batches:
    """Stack batches of equal shapes along a new first axis."""
    found: Batches = tf.nest.map_structure(lambda *leaves: np.stack(leaves), *batches)
    return found
