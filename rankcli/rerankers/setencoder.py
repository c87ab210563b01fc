"""The Set-Encoder: a cross-encoder whose documents see each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS
from rankcli.encoders.build import encoder_config
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.family import family_of
from rankcli.errors import ConfigError
from rankcli.extractors.base import vocab_size
from rankcli.extractors.setpassage import SetPassageExtractor
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.classifier import ClassifierOptions, SequenceClassifier
from rankcli.rerankers.ops import Tensor, per_document, places_of
from rankcli.shapes import Batch, Field, Layout, Outputs, Shared


@RERANKERS.register("setencoder")
@dataclass(frozen=True, kw_only=True)
class SetEncoder(ClassifierOptions):
    """A cross-encoder over `[CLS] [INT] query [SEP] document [SEP]`, in which the tokens of a document attend to the
    [INT]s of all other documents of the list, too, in every layer (Schlatt et al., ECIR 2025).

    Positions begin anew in each document, so the order of the list changes no score.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    default_extractor: ClassVar[str] = "setpassage"
    listwise: ClassVar[bool] = True

    def check(self, ctx: RerankerContext) -> None:
        """Raise ConfigError for an extractor without [INT], and for an encoder in which attention goes by distance."""
        marked_by(ctx)
        config = encoder_config(ctx.models.get("pretrained"), self.encoder, vocab_size(ctx.extractor, "pair"))
        if not family_of(config.kind).shares:
            what = f"{config.kind} encoders attend by distance, which tokens of different documents do not have"
            fix = "name one with absolute positions, such as BERT, ELECTRA or RoBERTa"
            raise ConfigError(what, where="reranker.pretrained", fix=fix)

    def build(self, ctx: RerankerContext) -> SetEncoderModel:
        """Load pretrained weights or make random ones."""
        return SetEncoderModel(self, ctx)


def marked_by(ctx: RerankerContext) -> SetPassageExtractor:
    """Return the extractor; ConfigError for one that gives sequences no [INT]."""
    if not isinstance(ctx.extractor, SetPassageExtractor):
        raise ConfigError("its sequences have no [INT]", where="extractor", fix="use the extractor `setpassage`")
    return ctx.extractor


class SetEncoderModel(SequenceClassifier):
    """One sequence per document. Its logit is the document's score."""

    def __init__(self, options: SetEncoder, ctx: RerankerContext) -> None:
        options.check(ctx)
        self._shared = marked_by(ctx).shared
        super().__init__(options, ctx)

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute the scores."""
        pair = batch.fields["pair"]
        logits = self.logits(sharing(pair, self._shared, batch.doc_mask), dropout)
        return Outputs(per_document(logits, pair.owner, batch.doc_mask))


def sharing(field: Field, place: int, doc_mask: Tensor) -> Layout:
    """Return the layout of a field with one sequence per document, each of which shares its token at a place."""
    found = tf.math.unsorted_segment_max(field.layout.places[:, place], field.owner, places_of(doc_mask))
    tokens = tf.reshape(tf.maximum(found, -1), tf.shape(doc_mask))  # -1 on padding, which owns no sequence
    shared: Layout = field.layout._replace(shared=Shared(tokens, field.owner))
    return shared
