"""InfoNCE with the documents of the whole batch as negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.config.types import PositiveFloat
from rankcli.losses._vectors import mean_over_relevant
from rankcli.losses.base import FLOOR, Loss, LossOptions
from rankcli.shapes import Batch, Outputs, StepContext
from rankcli.vectors import Relevance, Vectors, all_documents, all_queries, vectors_of


@LOSSES.register("infonce")
@dataclass(frozen=True, kw_only=True)
class InfoNCE(LossOptions):
    """Softmax over all documents of the batch: in-batch negatives.

    Mean over a query's relevant documents i of -log(e^(q.d_i/T) / (e^(q.d_i/T) + sum of e^(q.d_j/T))).

    The j are all documents of the batch, on all devices, but those known as relevant to the query: judged so, or
    relevant in a group of this query (van den Oord, Li and Vinyals, 2018; Karpukhin et al., EMNLP 2020). Documents are
    told apart by their ids. q.d is the dot product of the vectors as the reranker gives them: the cosine, if they have
    length 1. The `weight` of a relevant document scales its term. sentence-transformers'
    `MultipleNegativesRankingLoss` with scale 1 / T also has other relevant documents of the query, and the same
    document in another group, as negatives.
    """

    version: ClassVar[int] = 2
    reads: ClassVar[tuple[str, ...]] = ("query", "doc")
    in_batch: ClassVar[bool] = True
    remembers: ClassVar[bool] = True
    temperature: PositiveFloat = option(0.05, "T; the default suits cosines, 1 dot products")
    symmetric: bool = option(False, "add the same with a document among all queries, and divide by 2")

    def build(self) -> Loss:
        """Return the loss function."""

        def loss(batch: Batch, outputs: Outputs, step: StepContext) -> Any:
            own, known = vectors_of(batch, outputs), Relevance(batch, step)
            costs = self._among_documents(batch, own, known, step)
            if self.symmetric:
                costs = (costs + self._among_queries(batch, own, known, step)) / 2.0
            return mean_over_relevant(batch, costs)

        return loss

    def _among_documents(self, batch: Batch, own: Vectors, known: Relevance, step: StepContext) -> Any:
        rows = all_documents(batch, own, step)
        logits = tf.matmul(own.queries, rows.vectors, transpose_b=True) / self.temperature
        others = tf.where(known.negatives(batch.keys.query, rows), logits, FLOOR)
        return tf.nn.softplus(tf.reduce_logsumexp(others, axis=1)[:, None] - self._similarity(own))

    def _among_queries(self, batch: Batch, own: Vectors, known: Relevance, step: StepContext) -> Any:
        rows = all_queries(batch, own, step)
        logits = tf.einsum("bkd,nd->bkn", own.docs, rows.vectors) / self.temperature
        others = tf.where(known.negatives(batch.keys.doc, rows), logits, FLOOR)
        return tf.nn.softplus(tf.reduce_logsumexp(others, axis=2) - self._similarity(own))

    def _similarity(self, own: Vectors) -> Any:
        return tf.einsum("bd,bkd->bk", own.queries, own.docs) / self.temperature
