"""Pointwise cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses.base import Loss, LossOptions, mean_over_documents
from rankcli.shapes import Batch, Outputs, StepContext


@LOSSES.register("crossentropy")
@dataclass(frozen=True, kw_only=True)
class CrossEntropy(LossOptions):
    """Sigmoid cross-entropy of each document's single logit with the target label > 0, mean over the group.

    Source: Nogueira and Cho (2019). A document's term is multiplied by its `weight`; the mean divides by the number of
    documents.
    """

    def build(self) -> Loss:
        """Return the loss function."""

        def loss(batch: Batch, outputs: Outputs, step: StepContext) -> Any:
            targets = tf.cast(batch.labels > 0, outputs.scores.dtype)
            terms = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=outputs.scores)
            return mean_over_documents(batch, terms)

        return loss
