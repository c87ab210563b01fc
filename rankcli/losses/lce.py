"""Localized contrastive estimation: softmax cross-entropy over a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses.base import FLOOR, Loss, masked, weights_of
from rankcli.shapes import Batch, OutputType


@LOSSES.register("lce")
@dataclass(frozen=True, kw_only=True)
class LCE:
    """-sum_i p_i log softmax(s)_i, where p spreads over the group's relevant documents in proportion to label x weight.

    With one positive this is -log(exp(s+) / (exp(s+) + sum_j exp(s-_j))) (Gao, Dai and Callan, ECIR 2021, eq. 5).
    """

    version: ClassVar[int] = 1
    min_docs: ClassVar[int] = 2

    def build(self, output_type: OutputType = "logits") -> Loss:
        """The loss function."""

        def loss(batch: Batch, scores: Any) -> Any:
            relevance = masked(batch, tf.nn.relu(batch.labels) * weights_of(batch))
            target = tf.math.divide_no_nan(relevance, tf.reduce_sum(relevance, axis=1, keepdims=True))
            return -tf.reduce_sum(target * tf.nn.log_softmax(masked(batch, scores, FLOOR), axis=1), axis=1)

        return loss
