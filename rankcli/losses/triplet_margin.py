"""Triplet loss with negatives mined in the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.config.types import PositiveFloat
from rankcli.losses._vectors import mean_over_relevant, normalised
from rankcli.losses.base import Loss, LossOptions
from rankcli.shapes import Batch, Outputs, StepContext
from rankcli.vectors import Relevance, all_documents, vectors_of

_FAR = 4.0  # above any distance


@LOSSES.register("triplet_margin")
@dataclass(frozen=True, kw_only=True)
class TripletMargin(LossOptions):
    """Triplet loss of vectors with negatives mined in the batch.

    Mean over a query's relevant documents i of max(0, d_i - d_j + margin), d = 1 - cosine, with one negative j.

    j is one of the documents that are negatives in `infonce`. `hard`: the nearest (Hermans, Beyer and Leibe, 2017).
    `semihard`: the nearest that is farther than i, else the farthest (Schroff, Kalenichenko and Philbin, CVPR 2015);
    with it vectors do not fall together at first. Without a negative it is 0. The `weight` of a relevant document
    scales its term.
    """

    version: ClassVar[int] = 2
    reads: ClassVar[tuple[str, ...]] = ("query", "doc")
    in_batch: ClassVar[bool] = True
    remembers: ClassVar[bool] = True
    margin: PositiveFloat = option(0.2, "how much nearer a relevant document should be")
    mining: Literal["hard", "semihard"] = option("semihard", "how the negative is chosen")

    def build(self) -> Loss:
        """Return the loss function."""

        def loss(batch: Batch, outputs: Outputs, step: StepContext) -> Any:
            own = normalised(vectors_of(batch, outputs))
            rows = all_documents(batch, own, step)
            usable = Relevance(batch, step).negatives(batch.keys.query, rows)
            found = 1.0 - tf.matmul(
                own.queries, tf.math.l2_normalize(rows.vectors, axis=-1, epsilon=1e-24), transpose_b=True
            )
            wanted = 1.0 - tf.einsum("bd,bkd->bk", own.queries, own.docs)
            cost = tf.nn.relu(wanted - self._mined(wanted, found, usable) + self.margin)
            return mean_over_relevant(batch, tf.where(tf.reduce_any(usable, axis=1, keepdims=True), cost, 0.0))

        return loss

    def _mined(self, wanted: Any, found: Any, usable: Any) -> Any:
        """Return the distance of the negative of each document, [B, K] or [B, 1]."""
        if self.mining == "hard":
            return tf.reduce_min(tf.where(usable, found, _FAR), axis=1, keepdims=True)
        farther = tf.logical_and(usable[:, None, :], found[:, None, :] > wanted[:, :, None])
        nearest = tf.reduce_min(tf.where(farther, found[:, None, :], _FAR), axis=2)
        farthest = tf.reduce_max(tf.where(usable, found, -_FAR), axis=1, keepdims=True)
        return tf.where(tf.reduce_any(farther, axis=2), nearest, farthest)
