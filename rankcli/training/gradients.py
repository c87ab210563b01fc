"""Gradients of a batch, and of a batch that is computed in micro-batches to need less memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rankcli.backend import tf
from rankcli.encoders.dropout import Dropout
from rankcli.hooks.base import Penalty
from rankcli.rerankers.base import Reranker
from rankcli.shapes import Batch
from rankcli.training.base import Share
from rankcli.training.objective import Objective

Batches = Mapping[str, Batch]
Part = Callable[[Batches, Any], tuple[Any, list[Any]]]


def gradients_of(
    objective: Objective,
    reranker: Reranker,
    variables: Sequence[Any],
    batches: Batches,
    dropout: Dropout | None,
    shares: Mapping[str, Share],
    scale: Any = None,
) -> tuple[Any, list[Any]]:
    """This replica's share of what is minimised, in front of those of its terms [1 + T], and its gradients.

    Gradients are dense, those of the weighted sum times `scale`; None for a variable that does not influence it.
    """
    with tf.GradientTape() as tape:
        terms = list(objective(reranker, batches, dropout, shares).values())
        value = _sum([term.weight * term.value for term in terms])
        scaled = value if scale is None else value * scale
    gradients = [dense(gradient) for gradient in tape.gradient(scaled, variables)]
    return tf.stack([value, *(term.value for term in terms)]), gradients


def with_penalties(
    penalties: Sequence[Penalty], variables: Mapping[str, Any], values: Any, gradients: Sequence[Any]
) -> tuple[Any, list[Any]]:
    """`values` [1 + T] and the gradients of `variables`, both with those of the penalties added."""
    if not penalties:
        return values, list(gradients)
    with tf.GradientTape() as tape:
        found = [penalty.function([variables[path] for path in penalty.paths]) for penalty in penalties]
        total = _sum([penalty.weight * value for penalty, value in zip(penalties, found, strict=True)])
    added = tape.gradient(total, list(variables.values()))
    gradients = [old if new is None else old + new for old, new in zip(gradients, added, strict=True)]
    return tf.concat([[values[0] + total], values[1:], tf.stack(found)], axis=0), gradients


def _sum(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else tf.add_n(values)


def dense(gradient: Any) -> Any:
    """A gradient of looked-up rows as one of the whole table, which is what optimizers with momentum need."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, gradient.dense_shape[0])


def accumulated(
    part: Part, variables: Sequence[Any], terms: int, batches: Batches, count: int
) -> tuple[Any, list[Any]]:
    """The sums of what `part(batches, n)` returns over `count` micro-batches, stacked along a new first axis.

    A loop of the graph with one iteration at a time: unrolled, TensorFlow would run the forward passes of several
    micro-batches at once, and keep the activations of all of them.
    """

    def add(n: Any, value: Any, sums: list[Any]) -> tuple[Any, Any, list[Any]]:
        more, gradients = part(tf.nest.map_structure(lambda leaf: leaf[n], batches), n)
        return n + 1, value + more, [total + gradient for total, gradient in zip(sums, gradients, strict=True)]

    start = (tf.constant(0), tf.zeros([1 + terms]), [tf.zeros(variable.shape) for variable in variables])
    loop = tf.while_loop(lambda n, *_: n < count, add, start, parallel_iterations=1, maximum_iterations=count)
    return loop[1], loop[2]


def stacked(batches: Sequence[Batches], count: int) -> list[Batches]:
    """Every `count` batches as one with a new first axis; as they are when `count` is 1."""
    if count == 1:
        return list(batches)
    return [stack(batches[n : n + count]) for n in range(0, len(batches), count)]


def by_replica(batches: Sequence[Batches], replicas: int) -> list[Batches]:
    """For each replica its batches of several steps, stacked; `batches` has step after step, in each its replicas."""
    return [stack(batches[replica::replicas]) for replica in range(replicas)]


def stack(batches: Sequence[Batches]) -> Batches:
    """Batches of equal shapes as one, with a new first axis."""
    found: Batches = tf.nest.map_structure(lambda *leaves: np.stack(leaves), *batches)
    return found
