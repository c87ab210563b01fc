"""Distillation of ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.config.types import PositiveFloat
from rankcli.losses._groups import above, differences, discounts, real_pairs, soft_ranks
from rankcli.losses.base import GroupLoss, masked, mean_over_documents
from rankcli.shapes import Batch


@LOSSES.register("adr_mse")
@dataclass(frozen=True, kw_only=True)
class ADRMSE(GroupLoss):
    """Distillation: squared error between the teacher's ranks and soft ranks of the scores.

    Mean of d(r_i) (r'_i - r_i)^2 with the teacher's ranks r and r'_i = 1 + sum_j sigmoid((s_j - s_i) / T).

    Approximate discounted rank error (Schlatt et al., "Rank-DistiLLM", ECIR 2025); d(r) = 1 / log2(1 + r). Documents
    with equal scores of the teacher share the mean of their ranks. It sets no scale, so scores stay small. A document's
    term is multiplied by its `weight`; the mean divides by the number of documents.
    """

    min_docs: ClassVar[int] = 2
    columns: ClassVar[tuple[str, ...]] = ("teacher",)
    temperature: PositiveFloat = option(1.0, "T; the lower, the nearer to true ranks")
    discount: Literal["log2", "reciprocal", "none"] = option("log2", "d(r): 1 / log2(1 + r), 1 / r or 1")

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        wanted = _mean_ranks(batch, masked(batch, batch.columns["teacher"]))
        discount = {"log2": discounts, "reciprocal": tf.math.reciprocal, "none": tf.ones_like}[self.discount](wanted)
        error = tf.math.squared_difference(soft_ranks(batch, scores, self.temperature), wanted)
        return mean_over_documents(batch, discount * error)


def _mean_ranks(batch: Batch, values: Any) -> Any:
    """Return the rank of each document by descending `values`; equal ones have the mean of their ranks."""
    tied = tf.cast(tf.logical_and(real_pairs(batch), differences(values) == 0), tf.float32)
    higher = tf.reduce_sum(above(batch, values), axis=1)
    return masked(batch, higher + (tf.reduce_sum(tied, axis=2) + 1.0) / 2.0, 1.0)
