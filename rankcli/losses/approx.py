"""Metrics of soft ranks: ApproxNDCG and ApproxMRR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.config.types import PositiveFloat
from rankcli.losses._groups import best_dcg, discounts, gains, shares, soft_ranks
from rankcli.losses.base import GroupLoss, weights_of
from rankcli.shapes import Batch


@LOSSES.register("approx_ndcg")
@dataclass(frozen=True, kw_only=True)
class ApproxNDCG(GroupLoss):
    """nDCG with soft ranks.

    -sum_i (2^label_i - 1) / log2(1 + r_i), divided by the best DCG; r_i = 1 + sum_j sigmoid((s_j - s_i) / T).

    Source: Qin, Liu and Li (2010); Bruch et al. (SIGIR 2019). Once scores differ by several T, the gradient is 0: train
    with `lce` first, or with a large T. TensorFlow Ranking's T is 0.1. The `weight` of a relevant document scales its
    term.
    """

    min_docs: ClassVar[int] = 2
    temperature: PositiveFloat = option(1.0, "T; the lower, the nearer to true ranks")

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        found = weights_of(batch) * gains(batch) * discounts(soft_ranks(batch, scores, self.temperature))
        return -tf.math.divide_no_nan(tf.reduce_sum(found, axis=1), best_dcg(batch))


@LOSSES.register("approx_mrr")
@dataclass(frozen=True, kw_only=True)
class ApproxMRR(GroupLoss):
    """Reciprocal rank with soft ranks.

    -sum_i p_i / r_i with p_i = label_i / sum of labels and r_i = 1 + sum_j sigmoid((s_j - s_i) / T).

    Source: Qin, Liu and Li (2010), as in TensorFlow Ranking: the mean of reciprocal ranks, not the reciprocal of the
    first. TensorFlow Ranking's T is 0.1. The `weight` of a relevant document scales its term.
    """

    min_docs: ClassVar[int] = 2
    temperature: PositiveFloat = option(1.0, "T; the lower, the nearer to true ranks")

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        targets = weights_of(batch) * shares(tf.nn.relu(batch.labels))
        return -tf.reduce_sum(targets / soft_ranks(batch, scores, self.temperature), axis=1)
