"""duoBERT: documents of a query compared two by two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS, option
from rankcli.encoders.dropout import Dropout
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.classifier import ClassifierOptions, SequenceClassifier
from rankcli.rerankers.ops import Tensor, per_document, places_of
from rankcli.shapes import Batch, Outputs

How = Literal["sum", "binary", "min", "max", "sym_sum"]


@RERANKERS.register("duobert")
@dataclass(frozen=True, kw_only=True)
class DuoBERT(ClassifierOptions):
    """The probabilities p_ij that document i is more relevant than j, over all j of the list (Nogueira et al., 2019).

    `sum` adds up p_ij, `binary` counts those above a half, `min` and `max` take the least and the greatest; `sym_sum`
    adds up p_ij + 1 - p_ji. In training a document's score is the mean of its logits, so with the sampler `pair` and
    the loss `bce` it is the paper's loss.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    default_extractor: ClassVar[str] = "duo"
    listwise: ClassVar[bool] = True
    aggregation: How = option("sum", "how probabilities become the document's score")

    def build(self, ctx: RerankerContext) -> DuoBERTModel:
        """Load pretrained weights or make random ones."""
        return DuoBERTModel(self, ctx)


class DuoBERTModel(SequenceClassifier):
    """One sequence per ordered pair of documents, as the extractor `duo` orders them."""

    def __init__(self, options: DuoBERT, ctx: RerankerContext) -> None:
        super().__init__(options, ctx)
        self._aggregation: How = options.aggregation

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute the scores."""
        pair = batch.fields["pair"]
        logits = self.logits(pair.layout, dropout)
        if dropout is not None:
            return Outputs(per_document(logits, pair.owner, batch.doc_mask, "avg"))
        return Outputs(compared(logits, pair.owner, batch.doc_mask, self._aggregation))


def compared(logits: Tensor, owner: Tensor, doc_mask: Tensor, how: How) -> Tensor:
    """Return each document's score, [B, K], from the logits of its comparisons with the others, [N]."""
    better = tf.sigmoid(logits)
    if how == "binary":
        better = tf.cast(logits > 0, tf.float32)
    if how in ("min", "max"):
        sign = -1.0 if how == "min" else 1.0
        return sign * per_document(sign * better, owner, doc_mask, "max")
    summed = per_document(better, owner, doc_mask)
    if how == "sym_sum":
        summed += per_document(1 - better, others(owner, doc_mask), doc_mask)
    return summed


def others(owner: Tensor, doc_mask: Tensor) -> Tensor:
    """Return the slot of the document that each sequence's own is compared with, [N]; -1 for padding."""
    numbers, most = tf.range(tf.size(owner)), tf.shape(doc_mask)[1]
    slot = tf.maximum(owner, 0)
    nth = numbers - tf.gather(tf.math.unsorted_segment_min(numbers, owner, places_of(doc_mask)), slot)
    own = slot % most
    other = tf.minimum(nth + tf.cast(nth >= own, tf.int32), most - 1)
    return tf.where(owner >= 0, slot - own + other, -1)
