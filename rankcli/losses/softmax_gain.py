"""Softmax cross-entropy with exponential gains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.config.registry import LOSSES
from rankcli.losses._groups import gains, shares, softmax_entropy
from rankcli.losses.base import GroupLoss
from rankcli.shapes import Batch


@LOSSES.register("softmax_gain")
@dataclass(frozen=True, kw_only=True)
class SoftmaxGain(GroupLoss):
    """Softmax over a group with gains of grades as the wanted shares.

    -sum_i p_i log softmax(s)_i with p_i = (2^label_i - 1) / sum_j (2^label_j - 1).

    `lce` with the gains of nDCG in place of labels (as XE-NDCG without its noise: Bruch, WWW 2021); the same for labels
    0 and 1. The `weight` of a relevant document scales its term; weights of other documents have no effect.
    """

    min_docs: ClassVar[int] = 2

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        return softmax_entropy(batch, shares(gains(batch)), scores)
