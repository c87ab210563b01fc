"""Squared error of the differences of scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses._groups import differences, real_pairs
from rankcli.losses.base import GroupLoss, weights_of
from rankcli.shapes import Batch


@LOSSES.register("pairwise_mse")
@dataclass(frozen=True, kw_only=True)
class PairwiseMSE(GroupLoss):
    """Squared error of differences of scores against those of labels.

    Mean over all ordered pairs i != j of ((s_i - s_j) - (label_i - label_j))^2.

    As TensorFlow Ranking's `pairwise_mse_loss` (2023), but a mean. A pair's term is multiplied by the mean `weight` of
    its two documents; the mean divides by the number of pairs.
    """

    min_docs: ClassVar[int] = 2

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        count = tf.reduce_sum(tf.cast(batch.doc_mask, tf.float32), axis=1)
        errors = tf.square(differences(scores - batch.labels))
        total = tf.reduce_sum(weights_of(batch)[:, :, None] * tf.where(real_pairs(batch), errors, 0.0), axis=[1, 2])
        return tf.math.divide_no_nan(total, count * (count - 1.0))
