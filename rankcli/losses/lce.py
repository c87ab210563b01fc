"""Localized contrastive estimation: softmax cross-entropy over a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses._groups import shares, softmax_entropy
from rankcli.losses.base import GroupLoss
from rankcli.shapes import Batch


@LOSSES.register("lce")
@dataclass(frozen=True, kw_only=True)
class LCE(GroupLoss):
    """Localised contrastive estimation: softmax over the documents of a group.

    -sum_i w_i p_i log softmax(s)_i with the scores s of a group, its weights w and p_i = label_i / sum of labels.

    With one positive of weight 1 this is -log(exp(s+) / (exp(s+) + sum_j exp(s-_j))) (Gao, Dai and Callan, ECIR 2021,
    eq. 5). The `weight` of a relevant document scales its term; weights of other documents have no effect. One weight
    for the whole group scales the group's loss.
    """

    min_docs: ClassVar[int] = 2

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        return softmax_entropy(batch, shares(tf.nn.relu(batch.labels)), scores)
