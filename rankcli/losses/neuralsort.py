"""NeuralSort: losses of a relaxed permutation matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.config.types import NonNegativeInt, PositiveFloat
from rankcli.losses._groups import best_dcg, differences, discounts, gains, real_pairs, where_unequal
from rankcli.losses.base import FLOOR, GroupLoss, weights_of
from rankcli.shapes import Batch


@LOSSES.register("neuralsort")
@dataclass(frozen=True, kw_only=True)
class NeuralSort(GroupLoss):
    """Cross-entropy between relaxed orders, by label and by score.

    Mean over the places i of -sum_j P(labels)_ij log P(s)_ij, P(s)_i = softmax(((n + 1 - 2i) s - a) / T).

    n counts the group's documents and a_j = sum_k |s_j - s_k|; row i of P is a soft choice of the document at place i
    (Grover et al., ICLR 2019). A group whose labels are all equal costs 0. The `weight` of a document scales the terms
    of its column.
    """

    min_docs: ClassVar[int] = 2
    temperature: PositiveFloat = option(1.0, "T; the lower, the nearer to a true permutation")

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        wanted, found = (_log_sorted(batch, values, self.temperature) for values in (batch.labels, scores))
        terms = weights_of(batch)[:, None, :] * tf.exp(wanted) * found
        count = tf.reduce_sum(tf.cast(batch.doc_mask, tf.float32), axis=1)
        return where_unequal(batch, -tf.math.divide_no_nan(tf.reduce_sum(terms, axis=[1, 2]), count))


@LOSSES.register("neural_ndcg")
@dataclass(frozen=True, kw_only=True)
class NeuralNDCG(GroupLoss):
    """nDCG of a relaxed order of the documents.

    -sum_i (P(s) gains)_i / log2(1 + i), divided by the best DCG: nDCG of the relaxed order P of `neuralsort`.

    P is first made doubly stochastic: `rounds` times, its columns and then its rows are divided by their sums (Pobrotyn
    and Bialobrzeski, "NeuralNDCG", 2021). The `weight` of a relevant document scales its gain.
    """

    min_docs: ClassVar[int] = 2
    temperature: PositiveFloat = option(1.0, "T; the lower, the nearer to a true permutation")
    rounds: NonNegativeInt = option(50, "rounds of scaling; 0 leaves P as it is")

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        order = self._scaled(batch, _log_sorted(batch, scores, self.temperature))
        found = tf.linalg.matvec(tf.exp(order), weights_of(batch) * gains(batch))
        discount = discounts(tf.range(1.0, tf.cast(tf.shape(scores)[1], tf.float32) + 1.0))
        return -tf.math.divide_no_nan(tf.reduce_sum(discount * found, axis=1), best_dcg(batch))

    def _scaled(self, batch: Batch, order: Any) -> Any:
        """Return log P with columns and rows divided by their sums, `rounds` times."""
        places = _places(batch)

        def scaled(order: Any) -> tuple[Any]:
            for axis in (1, 2):
                order = tf.where(places, order - tf.reduce_logsumexp(order, axis=axis, keepdims=True), FLOOR)
            return (order,)

        if self.rounds:  # XLA cannot take the gradient of a loop of no rounds
            # a loop in the graph: XLA takes half a minute for fifty copies of its body
            (order,) = tf.while_loop(lambda order: True, scaled, (order,), maximum_iterations=self.rounds)
        return order


def _places(batch: Batch) -> Any:
    """Return True for the entries (i, j) of P with a place i <= n and a real document j, [B, K, K]."""
    count = tf.reduce_sum(tf.cast(batch.doc_mask, tf.int32), axis=1)
    rows = tf.sequence_mask(count, tf.shape(batch.doc_mask)[1])
    return tf.logical_and(rows[:, :, None], batch.doc_mask[:, None, :])


def _log_sorted(batch: Batch, values: Any, temperature: float) -> Any:
    """Return log P, [B, K, K]; `FLOOR` outside of `_places`."""
    count = tf.reduce_sum(tf.cast(batch.doc_mask, tf.float32), axis=1)
    places = tf.range(1.0, tf.cast(tf.shape(values)[1], tf.float32) + 1.0)
    factors = count[:, None] + 1.0 - 2.0 * places
    apart = tf.reduce_sum(tf.where(real_pairs(batch), tf.abs(differences(values)), 0.0), axis=2)
    logits = (factors[:, :, None] * values[:, None, :] - apart[:, None, :]) / temperature
    real = _places(batch)
    return tf.where(real, tf.nn.log_softmax(tf.where(real, logits, FLOOR), axis=2), FLOOR)
