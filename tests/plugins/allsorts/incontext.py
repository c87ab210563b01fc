"""A reranker that compares a document with the others of its group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from allsorts.twostreams import TwoStreamModel, TwoStreamReranker
from rankcli.api import Batch, Dropout, Outputs, RerankerContext, Weight, tf


@dataclass(frozen=True, kw_only=True)
class InContext(TwoStreamReranker):
    """s_k + a (s_k - mean of the group's s), with `a` trained."""

    version: ClassVar[int] = 1
    listwise: ClassVar[bool] = True

    def build(self, ctx: RerankerContext) -> InContextModel:
        return InContextModel(self, ctx)


class InContextModel(TwoStreamModel):
    """The scores of the plain model, set apart from those of the group."""

    def __init__(self, options: InContext, ctx: RerankerContext) -> None:
        super().__init__(options, ctx)
        self.parameters = {**self.parameters, "context": ctx.parameters([Weight("apart", (1,), ("apart",), "ones")])}

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        outputs = super().__call__(batch, dropout)
        real = tf.cast(batch.doc_mask, tf.float32)
        count = tf.maximum(tf.reduce_sum(real, axis=1, keepdims=True), 1.0)
        mean = tf.reduce_sum(real * outputs.scores, axis=1, keepdims=True) / count
        apart = self.parameters["context"].exact("apart")
        return outputs._replace(scores=outputs.scores + apart * (outputs.scores - mean))
