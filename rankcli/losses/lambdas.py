"""RankNet with the weights of nDCG: LambdaRank, NDCGLoss2 and NDCGLoss2++."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.config.types import PositiveFloat
from rankcli.losses._groups import above, best_dcg, differences, discounts, gains, over_pairs, ranks
from rankcli.losses.base import GroupLoss
from rankcli.shapes import Batch


@LOSSES.register("lambdarank")
@dataclass(frozen=True, kw_only=True)
class LambdaRank(GroupLoss):
    """Logistic loss of pairs, weighted by the change of nDCG if they were swapped.

    Sum over the pairs with label_i > label_j of |gain_i - gain_j| |d_i - d_j| log2(1 + exp(-(s_i - s_j))).

    The gains 2^label - 1 are divided by the best DCG; d_i = 1 / log2(1 + rank of i by score), constant in the gradient:
    a pair weighs what swapping it does to nDCG (Burges, Ragno and Le, NIPS 2006; here as in Wang et al., CIKM 2018, eq.
    17). Equal scores are ranked by place. A pair's term is multiplied by the `weight` of its more relevant document.
    sentence-transformers' `LambdaLoss` divides this sum, and those of `ndcgloss2` and `ndcgloss2pp`, by the number of
    pairs in the batch; its default is `ndcgloss2pp`.
    """

    min_docs: ClassVar[int] = 2

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        return _weighted(batch, scores, _swap(ranks(batch, scores)))


@LOSSES.register("ndcgloss2")
@dataclass(frozen=True, kw_only=True)
class NDCGLoss2(GroupLoss):
    """LambdaLoss that bounds nDCG.

    `lambdarank` with |1 / log2(1 + n) - 1 / log2(2 + n)|, n = |rank_i - rank_j|, in place of |d_i - d_j|.

    A tighter bound of nDCG (Wang et al., CIKM 2018, eq. 18). A pair's term is multiplied by the `weight` of its more
    relevant document.
    """

    min_docs: ClassVar[int] = 2

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        return _weighted(batch, scores, _distance(ranks(batch, scores)))


@LOSSES.register("ndcgloss2pp")
@dataclass(frozen=True, kw_only=True)
class NDCGLoss2PP(GroupLoss):
    """LambdaLoss that bounds nDCG, together with LambdaRank.

    `mu` x `ndcgloss2` + `lambdarank`: the best of the LambdaLoss family in the paper.

    Source: Wang et al. (CIKM 2018), eq. 19. A pair's term is multiplied by the `weight` of its more relevant document.
    """

    min_docs: ClassVar[int] = 2
    mu: PositiveFloat = option(10.0, "factor of `ndcgloss2`")

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        rank = ranks(batch, scores)
        return _weighted(batch, scores, self.mu * _distance(rank) + _swap(rank))


def _swap(rank: Any) -> Any:
    return tf.abs(differences(discounts(rank)))


def _distance(rank: Any) -> Any:
    apart = tf.maximum(tf.abs(differences(rank)), 1.0)  # pairs of a document with itself are not counted
    return tf.abs(discounts(apart) - discounts(apart + 1.0))


def _weighted(batch: Batch, scores: Any, changes: Any) -> Any:
    """Return the sum over pairs of |gain_i - gain_j| x change / best DCG x log2(1 + exp(-(s_i - s_j)))."""
    deltas = tf.stop_gradient(tf.abs(differences(gains(batch))) * changes)
    total = over_pairs(batch, above(batch, batch.labels), deltas * tf.nn.softplus(-differences(scores)))
    return tf.math.divide_no_nan(total, best_dcg(batch) * math.log(2.0))
