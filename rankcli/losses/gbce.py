"""Binary cross-entropy that allows for how few negatives were drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.config.types import PositiveInt, Probability
from rankcli.losses.base import GroupLoss, mean_over_documents
from rankcli.shapes import Batch


@LOSSES.register("gbce")
@dataclass(frozen=True, kw_only=True)
class GBCE(GroupLoss):
    """Binary cross-entropy, corrected for few negatives out of many.

    Mean over the documents of b log(1 + exp(-s)) if relevant, else log(1 + exp(s)), with b = 1 - t (1 - k / pool).

    Generalised cross-entropy (Petrov and Macdonald, RecSys 2023; for cross-encoders ECIR 2024): k negatives of
    a group stand for `pool` from which they were drawn, so plain cross-entropy (t = 0) is too sure of relevance. A
    document's term is multiplied by its `weight`; the mean divides by the number of documents.
    """

    min_docs: ClassVar[int] = 2
    calibration: Probability = option(0.75, "t: 0 is `crossentropy`, 1 undoes the sampling in full")
    pool: PositiveInt = option(100, "documents from which a group's negatives were drawn, such as the sampler's ranks")

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        others = tf.logical_and(batch.doc_mask, batch.labels <= 0)
        drawn = tf.reduce_sum(tf.cast(others, tf.float32), axis=1, keepdims=True) / float(self.pool)
        power = 1.0 - self.calibration * (1.0 - tf.minimum(drawn, 1.0))
        return mean_over_documents(
            batch, tf.where(batch.labels > 0, power * tf.nn.softplus(-scores), tf.nn.softplus(scores))
        )
