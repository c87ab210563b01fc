"""Gradients of a batch, and of a batch that is computed in micro-batches to need less memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rankcli.backend import tf
from rankcli.encoders.dropout import Dropout
from rankcli.losses._base import Loss
from rankcli.rerankers._base import Reranker
from rankcli.shapes import Batch

Part = Callable[[Batch, Any], tuple[Any, list[Any]]]


def gradients_of(
    reranker: Reranker,
    loss: Loss,
    variables: Sequence[Any],
    batch: Batch,
    dropout: Dropout | None,
    groups: Any,
    scale: Any = None,
) -> tuple[Any, list[Any]]:
    """This replica's share of the loss (sum over its groups / `groups` of all replicas) and its gradients.

    Gradients are dense, those of the loss times `scale`; None for a variable that does not influence the loss.
    """
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(loss(batch, reranker.scores(batch, dropout))) / groups
        scaled = value if scale is None else value * scale
    return value, [dense(gradient) for gradient in tape.gradient(scaled, variables)]


def dense(gradient: Any) -> Any:
    """A gradient of looked-up rows as one of the whole table, which is what optimizers with momentum need."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, gradient.dense_shape[0])


def accumulated(part: Part, variables: Sequence[Any], batches: Batch, count: int) -> tuple[Any, list[Any]]:
    """The sums of what `part(batch, n)` returns over `count` micro-batches, stacked along a new first axis.

    A loop of the graph with one iteration at a time: unrolled, TensorFlow would run the forward passes of several
    micro-batches at once, and keep the activations of all of them.
    """

    def add(n: Any, value: Any, sums: list[Any]) -> tuple[Any, Any, list[Any]]:
        more, gradients = part(tf.nest.map_structure(lambda leaf: leaf[n], batches), n)
        return n + 1, value + more, [total + gradient for total, gradient in zip(sums, gradients, strict=True)]

    start = (tf.constant(0), tf.zeros([]), [tf.zeros(variable.shape) for variable in variables])
    loop = tf.while_loop(lambda n, *_: n < count, add, start, parallel_iterations=1, maximum_iterations=count)
    return loop[1], loop[2]


def stacked(batches: Sequence[Batch], count: int) -> list[Batch]:
    """Every `count` batches as one with a new first axis; as they are when `count` is 1."""
    if count == 1:
        return list(batches)
    starts = range(0, len(batches), count)
    return [tf.nest.map_structure(lambda *leaves: np.stack(leaves), *batches[n : n + count]) for n in starts]
