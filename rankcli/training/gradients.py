"""Gradients of a batch, in one piece or in micro-batches to need less memory."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rankcli.backend import tf
from rankcli.encoders.dropout import Dropout
from rankcli.hooks.base import Hook
from rankcli.rerankers.base import Reranker
from rankcli.shapes import Batch, Outputs, StepContext
from rankcli.training.base import StepInputs
from rankcli.training.objective import Objective

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
