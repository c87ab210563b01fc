"""Pointwise cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses.base import Loss, mean_over_documents
from rankcli.shapes import Batch, OutputType


@LOSSES.register("crossentropy")
@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """Sigmoid cross-entropy of each document's one logit against label > 0, mean over the group (Nogueira and Cho,
    2019).
    """

    version: ClassVar[int] = 1
    min_docs: ClassVar[int] = 1

    def build(self, output_type: OutputType = "logits") -> Loss:
        """The loss function."""

        def loss(batch: Batch, scores: Any) -> Any:
            targets = tf.cast(batch.labels > 0, scores.dtype)
            return mean_over_documents(batch, tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=scores))

        return loss
