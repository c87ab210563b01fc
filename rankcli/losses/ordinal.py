"""Ordinal regression with one logit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.losses.base import GroupLoss, mean_over_documents
from rankcli.shapes import Batch


@LOSSES.register("ordinal")
@dataclass(frozen=True, kw_only=True)
class Ordinal(GroupLoss):
    """Ordinal regression: a binary decision for each grade.

    sum_k bce(s - t_k, 1[label >= k]) over the grades k = 1, 2, ... with thresholds t_k, mean over the documents.

    The proportional odds model (McCullagh, 1980) with thresholds that are given, not trained: the reranker fits the
    scale. TF-Ranking and allRank have a logit per grade instead (Pobrotyn et al., 2020). A grade above the last counts
    as the last. A document's term is multiplied by its `weight`; the mean divides by the number of documents.
    """

    thresholds: tuple[float, ...] = option((-1.0, 0.0, 1.0, 2.0), "t_1, t_2, ...: one per grade from 1, rising")

    def __post_init__(self) -> None:
        if not self.thresholds or list(self.thresholds) != sorted(set(self.thresholds)):
            raise ValueError("thresholds must be one number or more, each above the one before it")

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        grades = tf.range(1.0, len(self.thresholds) + 1.0)
        targets = tf.cast(batch.labels[..., None] >= grades, tf.float32)
        logits = scores[..., None] - tf.constant(self.thresholds, tf.float32)
        costs = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
        return mean_over_documents(batch, tf.reduce_sum(costs, axis=2))
