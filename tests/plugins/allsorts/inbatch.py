"""Negatives of the whole batch, gathered over replicas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.api import Batch, Loss, LossOptions, Outputs, PositiveFloat, StepContext, masked, option, tf


@dataclass(frozen=True, kw_only=True)
class InBatch(LossOptions):
    """-log softmax of a query's first document among all documents of the batch, plus a teacher's squared error."""

    version: ClassVar[int] = 1
    min_docs: ClassVar[int] = 2
    columns: ClassVar[tuple[str, ...]] = ("teacher",)
    reads: ClassVar[tuple[str, ...]] = ("scores", "query", "doc")
    in_batch: ClassVar[bool] = True
    taught: PositiveFloat = option(0.1, "factor on the squared error to the teacher's scores")

    def build(self) -> Loss:
        def loss(batch: Batch, outputs: Outputs, step: StepContext) -> Any:
            slots = tf.size(batch.doc_mask)
            owner = outputs.owners["doc"]
            places = tf.math.unsorted_segment_sum(outputs.vectors["doc"], owner, slots)
            docs = step.gather(places)
            seen = step.gather(tf.cast(tf.reshape(batch.doc_mask, [-1]), tf.float32))
            queries = tf.gather(outputs.vectors["query"], outputs.owners["query"])
            logits = tf.matmul(queries, docs, transpose_b=True) + tf.where(seen > 0, 0.0, -1e9)
            groups, width = tf.shape(batch.doc_mask)[0], tf.shape(batch.doc_mask)[1]
            own = step.replica * slots + tf.range(groups) * width
            found = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=own, logits=logits)
            error = masked(batch, tf.square(outputs.scores - batch.columns["teacher"]))
            real = tf.cast(tf.reduce_any(batch.doc_mask, axis=1), tf.float32)
            return real * found + self.taught * tf.reduce_mean(error, axis=1)

        return loss
