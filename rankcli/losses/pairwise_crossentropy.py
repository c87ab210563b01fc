"""Cross-entropy of both documents of a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses._groups import mean_over_pairs, relevant_above
from rankcli.losses.base import GroupLoss
from rankcli.shapes import Batch


@LOSSES.register("pairwise_crossentropy")
@dataclass(frozen=True, kw_only=True)
class PairwiseCrossEntropy(GroupLoss):
    """Binary cross-entropy of pairs of a relevant document and another.

    Mean over the pairs of a relevant i and another j of (log(1 + exp(-s_i)) + log(1 + exp(s_j))) / 2.

    Cross-entropy of single documents in which relevant and other documents count the same, however many there are: the
    loss of monoBERT in XPM-IR, on the pairs of Nogueira and Cho (2019). A pair's term is multiplied by the `weight` of
    its relevant document; the mean divides by the number of pairs.
    """

    min_docs: ClassVar[int] = 2

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        costs = tf.nn.softplus(-scores)[:, :, None] + tf.nn.softplus(scores)[:, None, :]
        return mean_over_pairs(batch, relevant_above(batch), costs / 2.0)
