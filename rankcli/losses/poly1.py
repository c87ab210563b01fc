"""Softmax cross-entropy with a linear term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.config.types import NonNegativeFloat
from rankcli.losses._groups import log_softmax, shares, softmax_entropy
from rankcli.losses.base import GroupLoss, weights_of
from rankcli.shapes import Batch


@LOSSES.register("poly1")
@dataclass(frozen=True, kw_only=True)
class Poly1(GroupLoss):
    """Softmax over a group with a linear term added.

    sum_i p_i (-log softmax(s)_i + epsilon (1 - softmax(s)_i)) with p_i = label_i / sum of labels.

    `lce` with the first term of its expansion weighted anew (Leng et al., "PolyLoss", ICLR 2022; RankT5: Zhuang et al.,
    SIGIR 2023). The `weight` of a relevant document scales its term; weights of other documents have no effect.
    """

    min_docs: ClassVar[int] = 2
    epsilon: NonNegativeFloat = option(1.0, "factor of the linear term; 0 is `lce`")

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        targets = shares(tf.nn.relu(batch.labels))
        missed = 1.0 - tf.exp(log_softmax(batch, scores))
        linear = tf.reduce_sum(weights_of(batch) * targets * missed, axis=1)
        return softmax_entropy(batch, targets, scores) + self.epsilon * linear
