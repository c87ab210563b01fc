"""A cross-encoder over the passages of a document that aggregates their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from rankcli.config.registry import RERANKERS, option
from rankcli.encoders.dropout import Dropout
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.classifier import ClassifierOptions, SequenceClassifier
from rankcli.rerankers.ops import Aggregation, per_document, top_per_document
from rankcli.shapes import Batch, Outputs


@RERANKERS.register("TFBERTMaxP")
@dataclass(frozen=True, kw_only=True)
class BERTMaxP(ClassifierOptions):
    """The logits of a classifier over each passage, aggregated to one score per document (Dai and Callan, 2019).

    `max` is the paper's MaxP, `first` its FirstP, `sum` its SumP; `avg` divides the sum by the number of the document's
    passages. `topk` is the sum of the greatest logits with `weights`, the first for the greatest: Birch's aggregation
    of sentences (Yilmaz et al., 2019; extractor `sentences`).
    """

    version: ClassVar[int] = 2
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    default_extractor: ClassVar[str] = "pooledpassage"
    aggregation: Aggregation | Literal["topk"] = option("max", "how the passages' logits become the document's score")
    weights: tuple[float, ...] = option((), "with `topk`: of the greatest logit, the second, ..., as [1, 0.5, 0.25]")

    def __post_init__(self) -> None:
        if (self.aggregation == "topk") != bool(self.weights):
            raise ValueError(
                "weights belong to `aggregation: topk`, as in `weights: [1, 0.5, 0.25]`: set both or neither"
            )

    def build(self, ctx: RerankerContext) -> BERTMaxPModel:
        """Load pretrained weights or make random ones."""
        return BERTMaxPModel(self, ctx)


class BERTMaxPModel(SequenceClassifier):
    """One sequence per passage; a document's score aggregates the logits of its own passages."""

    def __init__(self, options: BERTMaxP, ctx: RerankerContext) -> None:
        super().__init__(options, ctx)
        self._aggregation, self._weights = options.aggregation, options.weights

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute the scores."""
        pair = batch.fields["pair"]
        logits = self.logits(pair.layout, dropout)
        if self._aggregation == "topk":
            return Outputs(top_per_document(logits, pair.owner, batch.doc_mask, self._weights))
        return Outputs(per_document(logits, pair.owner, batch.doc_mask, self._aggregation))
