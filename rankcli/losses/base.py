"""What a loss is: `loss(batch, scores) -> [B]`, one finite value per group; groups that only pad get 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rankcli.backend import tf
from rankcli.shapes import Batch

Loss = Callable[[Batch, Any], Any]
FLOOR = -1e9  # stands for minus infinity where a padding place must not take part in a softmax


def masked(batch: Batch, values: Any, fill: float = 0.0) -> Any:
    """`values` [B, K] with `fill` on padding places."""
    return tf.where(batch.doc_mask, values, tf.cast(fill, values.dtype))


def weights_of(batch: Batch) -> Any:
    """The column `weight`, float32 [B, K]: 1 for real documents where there is none, 0 on padding places."""
    given = batch.columns.get("weight")
    return tf.cast(batch.doc_mask, tf.float32) if given is None else masked(batch, given)


def mean_over_documents(batch: Batch, values: Any) -> Any:
    """Weighted mean of `values` [B, K] over each group's real documents; 0 where the weights sum to 0."""
    weights = weights_of(batch)
    return tf.math.divide_no_nan(tf.reduce_sum(weights * masked(batch, values), axis=1), tf.reduce_sum(weights, axis=1))
