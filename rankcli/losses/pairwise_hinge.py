"""Pairwise hinge loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.config.types import PositiveFloat
from rankcli.losses.base import Loss, LossOptions, weights_of
from rankcli.shapes import Batch, Outputs, StepContext


@LOSSES.register("pairwise_hinge", aliases=("pairwise_hinge_loss",))
@dataclass(frozen=True, kw_only=True)
class PairwiseHinge(LossOptions):
    """Mean over the pairs with label_i > label_j of max(0, margin - (s_i - s_j)) (Herbrich et al., 2000).

    A pair's term is multiplied by the `weight` of its more relevant document; the mean divides by the number of pairs.
    """

    min_docs: ClassVar[int] = 2
    margin: PositiveFloat = option(1.0, "the lead over a less relevant document at which a pair costs nothing")

    def build(self) -> Loss:
        """Return the loss function."""

        def loss(batch: Batch, outputs: Outputs, step: StepContext) -> Any:
            scores = outputs.scores
            real = tf.logical_and(batch.doc_mask[:, :, None], batch.doc_mask[:, None, :])
            better = tf.logical_and(real, batch.labels[:, :, None] > batch.labels[:, None, :])
            cost = tf.nn.relu(self.margin - (scores[:, :, None] - scores[:, None, :])) * weights_of(batch)[:, :, None]
            pairs = tf.cast(better, scores.dtype)
            return tf.math.divide_no_nan(tf.reduce_sum(cost * pairs, axis=[1, 2]), tf.reduce_sum(pairs, axis=[1, 2]))

        return loss
