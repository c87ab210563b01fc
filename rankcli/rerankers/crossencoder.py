"""A cross-encoder: one encoder reads query and document together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rankcli.config.registry import EXTRACTORS, RERANKERS
from rankcli.encoders.dropout import Dropout
from rankcli.rerankers.base import Opened, RerankerContext
from rankcli.rerankers.classifier import ClassifierOptions, SequenceClassifier
from rankcli.rerankers.foreign import ForeignDirectory
from rankcli.rerankers.modular import chained_head
from rankcli.rerankers.ops import per_document
from rankcli.shapes import Batch, Outputs


@RERANKERS.register("crossencoder", aliases=("TFVanillaBERT",))
@dataclass(frozen=True, kw_only=True)
class CrossEncoder(ClassifierOptions):
    """The logit of a classifier over `[CLS] query [SEP] document [SEP]` (Nogueira and Cho, 2019, with one label).

    The computation is that of Hugging Face's `...ForSequenceClassification`. With a pretrained head of two labels, the
    score is the difference of its logits.
    """

    version: ClassVar[int] = 2
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    default_extractor: ClassVar[str] = "passage"

    @classmethod
    def opens(cls, directory: Path) -> Opened | None:
        """Open a sequence classifier, or a cross-encoder of several modules of sentence-transformers; None for other
        models.
        """
        model = ForeignDirectory(directory)
        single = model.architecture.endswith("ForSequenceClassification") and model.modules.keys() <= {"Transformer"}
        if not single and chained_head(directory, model.architecture) is None:
            return None
        return Opened(cls(), EXTRACTORS.get("passage")(maxseqlen=model.longest, maxqlen=None))

    def build(self, ctx: RerankerContext) -> CrossEncoderModel:
        """Load pretrained weights or make random ones."""
        return CrossEncoderModel(self, ctx)


class CrossEncoderModel(SequenceClassifier):
    """One sequence per document. Its logit is the document's score."""

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute the scores."""
        pair = batch.fields["pair"]
        return Outputs(per_document(self.logits(pair.layout, dropout), pair.owner, batch.doc_mask))
