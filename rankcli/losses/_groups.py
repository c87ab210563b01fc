"""Arithmetic on the scores of a group: pairs, ranks, gains and softmaxes, all blind to padding places.

Ranks are counted from comparisons of all pairs, [B, K, K]. So nothing is sorted, and nothing depends on how a device
sorts.
"""

from __future__ import annotations

import math
from typing import Any

from rankcli.backend import tf
from rankcli.losses.base import FLOOR, masked, weights_of
from rankcli.shapes import Batch


def differences(values: Any) -> Any:
    """Return values_i - values_j, [B, K, K]."""
    return values[:, :, None] - values[:, None, :]


def real_pairs(batch: Batch) -> Any:
    """Return True for the pairs (i, j) of two real documents, [B, K, K]."""
    return tf.logical_and(batch.doc_mask[:, :, None], batch.doc_mask[:, None, :])


def above(batch: Batch, values: Any) -> Any:
    """Return 1 for the pairs of real documents with values_i > values_j, else 0, float32 [B, K, K]."""
    return tf.cast(tf.logical_and(real_pairs(batch), values[:, :, None] > values[:, None, :]), tf.float32)


def relevant_above(batch: Batch) -> Any:
    """Return 1 for the pairs of a relevant document i (label above 0) and another j that is not, else 0."""
    return above(batch, tf.cast(batch.labels > 0, tf.float32))


def over_pairs(batch: Batch, pairs: Any, costs: Any) -> Any:
    """Return the sum over `pairs` [B, K, K] of the weight of document i times the pair's cost, [B]."""
    return tf.reduce_sum(weights_of(batch)[:, :, None] * pairs * costs, axis=[1, 2])


def mean_over_pairs(batch: Batch, pairs: Any, costs: Any) -> Any:
    """Return the sum of `over_pairs` divided by the number of pairs; 0 without any."""
    return tf.math.divide_no_nan(over_pairs(batch, pairs, costs), tf.reduce_sum(pairs, axis=[1, 2]))


def where_unequal(batch: Batch, values: Any) -> Any:
    """Return `values` [B], but 0 for groups whose labels are all equal: they have no order to learn."""
    return tf.where(tf.reduce_any(above(batch, batch.labels) > 0, axis=[1, 2]), values, 0.0)


def ranks(batch: Batch, values: Any) -> Any:
    """Return the rank of each document by descending `values`, from 1, float32; equal ones by their place."""
    places = tf.range(tf.shape(values)[1])
    earlier = tf.logical_and(values[:, :, None] == values[:, None, :], places[None, :] < places[:, None])
    ahead = tf.logical_or(values[:, :, None] < values[:, None, :], earlier)
    return 1.0 + tf.reduce_sum(tf.cast(tf.logical_and(real_pairs(batch), ahead), tf.float32), axis=2)


def soft_ranks(batch: Batch, scores: Any, temperature: float) -> Any:
    """Return 1 + sum over j != i of sigmoid((s_j - s_i) / temperature)."""
    ahead = tf.sigmoid(-differences(scores) / temperature)
    others = tf.logical_and(real_pairs(batch), tf.logical_not(tf.eye(tf.shape(scores)[1], dtype=tf.bool)))
    return 1.0 + tf.reduce_sum(tf.where(others, ahead, 0.0), axis=2)


def gains(batch: Batch) -> Any:
    """Return 2^label - 1, 0 for labels below 0."""
    return 2.0 ** tf.nn.relu(batch.labels) - 1.0


def discounts(rank: Any) -> Any:
    """Return 1 / log2(1 + rank)."""
    return math.log(2.0) / tf.math.log1p(rank)


def best_dcg(batch: Batch) -> Any:
    """Return the DCG of the best order of each group, [B]."""
    return tf.reduce_sum(gains(batch) * discounts(ranks(batch, batch.labels)), axis=1)


def shares(values: Any) -> Any:
    """Return `values` [B, K] divided by each group's sum; 0 where that is 0."""
    return tf.math.divide_no_nan(values, tf.reduce_sum(values, axis=1, keepdims=True))


def log_softmax(batch: Batch, scores: Any) -> Any:
    """Return the logarithm of the softmax over the real documents; `FLOOR` or less on padding places."""
    return tf.nn.log_softmax(masked(batch, scores, FLOOR), axis=1)


def softmax_entropy(batch: Batch, targets: Any, scores: Any) -> Any:
    """Return -sum of weight x target x log softmax(scores) of each group; the targets are 0 on padding places."""
    return -tf.reduce_sum(weights_of(batch) * targets * log_softmax(batch, scores), axis=1)
