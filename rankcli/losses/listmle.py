"""ListMLE and its position-aware form: the likelihood of the order of the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses._groups import differences, ranks, real_pairs, shares, where_unequal
from rankcli.losses.base import FLOOR, GroupLoss, masked, weights_of
from rankcli.shapes import Batch


@LOSSES.register("listmle")
@dataclass(frozen=True, kw_only=True)
class ListMLE(GroupLoss):
    """Likelihood of the order by label.

    sum_i (log(sum of exp(s_j) over the j with label_j <= label_i) - s_i).

    The negative log-likelihood of the order by label under the Plackett-Luce model (Xia et al., ICML 2008). Equal
    labels are treated as in Breslow's partial likelihood (1974), without random numbers; TensorFlow Ranking and allRank
    shuffle them, sentence-transformers leaves them as they come and by default does not read labels at all. A group
    whose labels are all equal costs 0. The `weight` of a document scales its term.
    """

    min_docs: ClassVar[int] = 2

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        return where_unequal(batch, tf.reduce_sum(_terms(batch, scores), axis=1))


@LOSSES.register("plistmle")
@dataclass(frozen=True, kw_only=True)
class PListMLE(GroupLoss):
    """Likelihood of the order by label, with more weight at the top.

    The sum of `listmle` with the weight (2^(K-r) - 1) / sum over all ranks, r being the rank of i by label.

    Position-aware ListMLE (Lan et al., UAI 2014) with weights that add up to 1, since 2^K is too large for long lists;
    the first place has about half. Documents with equal labels share the mean of the weights of their places. The
    `weight` of a document scales its term.
    """

    min_docs: ClassVar[int] = 2

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        return where_unequal(batch, tf.reduce_sum(_place_weights(batch) * _terms(batch, scores), axis=1))


def _terms(batch: Batch, scores: Any) -> Any:
    """Return weight x (log of the sum of exp(s_j) over the documents that i is not below - s_i), [B, K]."""
    not_above = tf.logical_and(real_pairs(batch), differences(batch.labels) >= 0)
    rest = tf.reduce_logsumexp(tf.where(not_above, scores[:, None, :], FLOOR), axis=2)
    return weights_of(batch) * masked(batch, rest - scores)


def _place_weights(batch: Batch) -> Any:
    """Return the share of each document's place, [B, K]: both the powers and the 1 are divided by 2^K."""
    count = tf.reduce_sum(tf.cast(batch.doc_mask, tf.float32), axis=1, keepdims=True)
    places = masked(batch, 2.0 ** -ranks(batch, batch.labels) - 2.0**-count)
    tied = tf.cast(tf.logical_and(real_pairs(batch), differences(batch.labels) == 0), tf.float32)
    return shares(tf.math.divide_no_nan(tf.linalg.matvec(tied, places), tf.reduce_sum(tied, axis=2)))
