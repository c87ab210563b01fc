"""Pointwise cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses.base import GroupLoss, mean_over_documents
from rankcli.shapes import Batch


@LOSSES.register("crossentropy")
@dataclass(frozen=True, kw_only=True)
class CrossEntropy(GroupLoss):
    """Binary cross-entropy of each document, relevant or not.

    Sigmoid cross-entropy of each document's single logit with the target label > 0, mean over the group.

    Source: Nogueira and Cho (2019). A document's term is multiplied by its `weight`; the mean divides by the number of
    documents.
    """

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        targets = tf.cast(batch.labels > 0, tf.float32)
        return mean_over_documents(batch, tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=scores))
