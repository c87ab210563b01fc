"""Arithmetic of losses of vectors."""

from __future__ import annotations

from typing import Any

from rankcli.backend import tf
from rankcli.losses.base import masked, weights_of
from rankcli.shapes import Batch
from rankcli.vectors import Vectors, is_relevant


def mean_over_relevant(batch: Batch, costs: Any) -> Any:
    """Return the sum of weight x `costs` [B, K] over the relevant documents, divided by their number; 0 without any."""
    relevant = tf.cast(is_relevant(batch), tf.float32)
    total = tf.reduce_sum(weights_of(batch) * relevant * masked(batch, costs), axis=1)
    return tf.math.divide_no_nan(total, tf.reduce_sum(relevant, axis=1))


def normalised(own: Vectors) -> Vectors:
    """Return the vectors with length 1."""
    return Vectors(*(tf.math.l2_normalize(rows, axis=-1, epsilon=1e-24) for rows in own))
