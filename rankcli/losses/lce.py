"""Localized contrastive estimation: softmax cross-entropy over a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses.base import FLOOR, Loss, LossOptions, masked, weights_of
from rankcli.shapes import Batch, Outputs, StepContext


@LOSSES.register("lce")
@dataclass(frozen=True, kw_only=True)
class LCE(LossOptions):
    """-sum_i w_i p_i log softmax(s)_i with the scores s of a group, its weights w and p_i = label_i / sum of labels.

    With one positive of weight 1 this is -log(exp(s+) / (exp(s+) + sum_j exp(s-_j))) (Gao, Dai and Callan, ECIR 2021,
    eq. 5). The `weight` of a relevant document scales its term; weights of other documents have no effect. One weight
    for the whole group scales the group's loss.
    """

    min_docs: ClassVar[int] = 2

    def build(self) -> Loss:
        """Return the loss function."""

        def loss(batch: Batch, outputs: Outputs, step: StepContext) -> Any:
            relevance = masked(batch, tf.nn.relu(batch.labels))
            target = tf.math.divide_no_nan(relevance, tf.reduce_sum(relevance, axis=1, keepdims=True))
            logs = tf.nn.log_softmax(masked(batch, outputs.scores, FLOOR), axis=1)
            return -tf.reduce_sum(weights_of(batch) * target * logs, axis=1)

        return loss
