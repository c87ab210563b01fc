"""InfoNCE with the documents of the whole batch as negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.config.types import PositiveFloat
from rankcli.losses._vectors import Vectors, all_documents, all_queries, mean_over_relevant, negatives, vectors_of
from rankcli.losses.base import FLOOR, Loss, LossOptions
from rankcli.shapes import Batch, Outputs, StepContext


@LOSSES.register("infonce")
@dataclass(frozen=True, kw_only=True)
class InfoNCE(LossOptions):
    """Softmax over all documents of the batch: in-batch negatives.

    Mean over a query's relevant documents i of -log(e^(q.d_i/T) / (e^(q.d_i/T) + sum of e^(q.d_j/T))).

    The j are all documents of the batch, on all devices, but those known as relevant to the query: from its own group,
    and from other groups of the same query on the device (van den Oord, Li and Vinyals, 2018; Karpukhin et al., EMNLP
    2020). q.d is the dot product of the vectors as the reranker gives them: the cosine, if they have length 1. The
    `weight` of a relevant document scales its term.
    """

    reads: ClassVar[tuple[str, ...]] = ("query", "doc")
    in_batch: ClassVar[bool] = True
    temperature: PositiveFloat = option(0.05, "T; the default suits cosines, 1 dot products")
    symmetric: bool = option(False, "add the same with a document among all queries, and divide by 2")

    def build(self) -> Loss:
        """Return the loss function."""

        def loss(batch: Batch, outputs: Outputs, step: StepContext) -> Any:
            own = vectors_of(batch, outputs)
            costs = self._among_documents(batch, own, step)
            if self.symmetric:
                costs = (costs + self._among_queries(batch, own, step)) / 2.0
            return mean_over_relevant(batch, costs)

        return loss

    def _among_documents(self, batch: Batch, own: Vectors, step: StepContext) -> Any:
        everyone = all_documents(batch, own, step)
        logits = tf.matmul(own.queries, everyone.vectors, transpose_b=True) / self.temperature
        others = tf.where(negatives(own, everyone, step), logits, FLOOR)
        return tf.nn.softplus(tf.reduce_logsumexp(others, axis=1)[:, None] - self._similarity(own))

    def _among_queries(self, batch: Batch, own: Vectors, step: StepContext) -> Any:
        everyone = all_queries(batch, own, step)
        logits = tf.einsum("bkd,nd->bkn", own.docs, everyone.vectors) / self.temperature
        others = tf.where(negatives(own, everyone, step)[:, None, :], logits, FLOOR)
        return tf.nn.softplus(tf.reduce_logsumexp(others, axis=2) - self._similarity(own))

    def _similarity(self, own: Vectors) -> Any:
        return tf.einsum("bd,bkd->bk", own.queries, own.docs) / self.temperature
