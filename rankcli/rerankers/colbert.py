"""Late interaction: every token of the query looks for its nearest token of the document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from rankcli.backend import tf
from rankcli.config.registry import ADAPTERS, EXTRACTORS, RERANKERS, component, option
from rankcli.config.types import PositiveInt
from rankcli.encoders import layouts
from rankcli.encoders.build import Pretrained, encoder_config
from rankcli.encoders.config import TINY, EncoderSize
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.family import family_of
from rankcli.encoders.layouts import BLOCKED, by_sequence, token_mask
from rankcli.encoders.weights import Weight, values_from
from rankcli.errors import ConfigError, MissingError
from rankcli.extractors.base import vocab_size
from rankcli.extractors.colbert import ColBERTExtractor
from rankcli.log import say
from rankcli.rerankers.base import Opened, Reranker, RerankerContext, RerankerOptions
from rankcli.rerankers.foreign import ForeignDirectory, write_json
from rankcli.rerankers.ops import Tensor, per_document, query_of
from rankcli.shapes import Batch, Layout, Outputs

_ARCHITECTURE, _METADATA, _LINEAR = "HF_ColBERT", "artifact.metadata", "linear.weight"
_WIDTH = 128
# the settings of the authors' files, their defaults and ours: extractor options by name, `mask_punctuation` is negated
_SETTINGS = {
    "query_maxlen": ("maxqlen", 32),
    "doc_maxlen": ("maxdoclen", 220),
    "query_token_id": ("querymarker", "[unused0]"),
    "doc_token_id": ("docmarker", "[unused1]"),
    "attend_to_mask_tokens": ("attendmask", False),
}


@RERANKERS.register("colbert")
@dataclass(frozen=True, kw_only=True)
class ColBERT(RerankerOptions):
    """MaxSim: sum over the query's tokens of the greatest cosine with a token of the document (Khattab and Zaharia,
    SIGIR 2020, equations 1 to 3).

    A token's vector is W h, h its last state and W without offsets, at length 1. All tokens of the query count, [MASK]s
    too, and all of a document but punctuation. With `l2`, a cosine c is replaced by -|q - d|^2 = 2 c - 2; unlike the
    authors' code, that leaves out punctuation and padding, too. Computed in float32. A saved directory has the form of
    `colbert-ir/colbertv2.0`, which sentence-transformers' `MultiVectorEncoder` opens.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("query", "doc")
    default_extractor: ClassVar[str] = "colbert"
    tiny: ClassVar[Mapping[str, Any]] = {"encoder": TINY, "dim": 6}
    pretrained: str | None = option(None, "hub id or directory of an encoder; default: random weights", path="model")
    encoder: EncoderSize = option(EncoderSize(), "the size of the encoder where nothing is pretrained")
    dim: PositiveInt = option(_WIDTH, "numbers of a token's vector")
    similarity: Literal["cosine", "l2"] = option("cosine", "how two vectors are compared")
    adapter: Any = component(ADAPTERS, None, "trained in place of the encoder's weights: `lora`; default: no adapter")

    @classmethod
    def opens(cls, directory: Path) -> Opened | None:
        """Open a model of the authors' code, such as `colbert-ir/colbertv2.0`; None for others."""
        model = ForeignDirectory(directory)
        if model.architecture != _ARCHITECTURE:
            return None
        given = model.json(_METADATA)
        similarity: Any = given.get("similarity", "cosine")
        if similarity not in ("cosine", "l2"):
            raise model.unknown(f"{_METADATA}: similarity {similarity!r}; supported: cosine, l2")
        width = Pretrained(directory).stored.shapes.get(_LINEAR, (0,))[0]
        if not width:
            raise model.unknown(f"no {_LINEAR} among the weights")
        settings = {ours: given.get(theirs, default) for theirs, (ours, default) in _SETTINGS.items()}
        lengths = {name: min(settings[name], model.longest) for name in ("maxqlen", "maxdoclen")}
        settings |= {**lengths, "punctuation": not given.get("mask_punctuation", True)}
        return Opened(cls(dim=width, similarity=similarity), EXTRACTORS.get("colbert")(**settings))

    def check(self, ctx: RerankerContext) -> None:
        """Raise ConfigError for an extractor without markers."""
        texts_of(ctx)

    def build(self, ctx: RerankerContext) -> ColBERTModel:
        """Load pretrained weights or make random ones."""
        return ColBERTModel(self, ctx)


def max_sim(queries: Tensor, docs: Tensor, asks: Tensor, matches: Tensor, similarity: str = "cosine") -> Tensor:
    """Return the score of each document, [N], from vectors of length 1 of its query's tokens [N, Lq, D] and its own
    [N, Ld, D]; masks, bool, have the tokens that count.
    """
    found = tf.where(matches[:, None], tf.matmul(queries, docs, transpose_b=True), BLOCKED)
    nearest = tf.reduce_max(found, axis=-1)
    if similarity == "l2":
        nearest = 2 * nearest - 2
    return tf.reduce_sum(tf.where(asks, nearest, 0.0), axis=-1)


def together(vectors: Tensor, mask: Tensor, longest: int) -> Tensor:
    """Return one vector per text, [N, longest (D + 1)]: each token's [N, M, D], and then 1 if it is in the mask.

    No text has more than `longest` tokens, but M may be rounded up.
    """
    tokens = tf.concat([vectors, tf.cast(mask, tf.float32)[..., None]], axis=-1)[:, :longest]
    count, length, width = layouts.size(tokens, 0), layouts.size(tokens, 1), tokens.shape[-1]
    return tf.reshape(tf.pad(tokens, [[0, 0], [0, longest - length], [0, 0]]), [count, longest * width])


def texts_of(ctx: RerankerContext) -> ColBERTExtractor:
    """Return the extractor; ConfigError for one that makes no texts with markers."""
    if not isinstance(ctx.extractor, ColBERTExtractor):
        what = "its texts have no markers, and its queries are not filled up with [MASK]s"
        raise ConfigError(what, where="extractor", fix="use the extractor `colbert`")
    return ctx.extractor


class ColBERTModel(Reranker):
    """One encoder for queries and documents, and one linear map of its states."""

    def __init__(self, options: ColBERT, ctx: RerankerContext) -> None:
        self._options, self._texts, given = options, texts_of(ctx), ctx.models.get("pretrained")
        config = encoder_config(given, options.encoder, vocab_size(ctx.extractor, "doc"))
        longer = "query" if self._texts.options.maxqlen > self._texts.options.maxdoclen else "doc"
        self.adapter = ctx.adapter(options.adapter, options.pretrained)
        self._encoder = ctx.encoder(options.encoder, longer, adapter=self.adapter, prefix=family_of(config.kind).prefix)
        weight = Weight("linear/kernel", (config.hidden_size, options.dim), (_LINEAR,), "normal", transposed=True)
        self._linear = ctx.parameters([weight], config.initializer_range)
        self.parameters = {"encoder": self._encoder.parameters, "linear": self._linear}
        self.encoders = {"encoder": self._encoder}
        self._matches = tf.constant(self._texts.tables["matches"])
        self.towers = {"query": self._query_tower, "doc": self._doc_tower}
        if given:
            self._take_linear(given, ctx.complete)

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute the scores."""
        query, doc = batch.fields["query"], batch.fields["doc"]
        keys = [None, None] if dropout is None else [dropout.fold(0), dropout.fold(1)]
        row = query_of(query.owner, doc.owner, batch.doc_mask)
        queries, asks = (tf.gather(x, row) for x in (self.vectors(query.layout, keys[0]), token_mask(query.layout)))
        docs, matches = self.vectors(doc.layout, keys[1]), self._can_match(doc.layout)
        values = max_sim(queries, docs, asks, matches, self._options.similarity)
        return Outputs(per_document(values, doc.owner, batch.doc_mask))

    def compare(self, queries: Tensor, docs: Tensor) -> Tensor:
        """Return the scores of texts whose tokens the towers put into one vector each."""
        own, asks = self._apart(queries)
        others, matches = self._apart(docs)
        return max_sim(own, others, asks, matches, self._options.similarity)

    def vectors(self, layout: Layout, dropout: Dropout | None = None) -> Tensor:
        """Return the vectors of the tokens of each sequence, of length 1, float32 [N, M, dim]."""
        (states,) = self._encoder.states(layout, dropout)
        projected = tf.matmul(tf.cast(states, tf.float32), self._linear.exact("linear/kernel"))
        return by_sequence(tf.math.l2_normalize(projected, axis=-1, epsilon=1e-24), layout)

    def _query_tower(self, layout: Layout) -> Tensor:
        return together(self.vectors(layout), token_mask(layout), self._texts.options.maxqlen)

    def _doc_tower(self, layout: Layout) -> Tensor:
        return together(self.vectors(layout), self._can_match(layout), self._texts.options.maxdoclen)

    def _apart(self, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors of the tokens of texts [P, L, dim], and the mask of those that count, [P, L]."""
        tokens = tf.reshape(texts, [texts.shape[0], -1, self._options.dim + 1])
        return tokens[..., :-1], tokens[..., -1] > 0

    def save_config(self, directory: Path) -> None:
        """Write `config.json` and the settings, as the authors' code does."""
        family = family_of(self._encoder.config.kind)
        write_json(directory / "config.json", {**family.write(self._encoder.config), "architectures": [_ARCHITECTURE]})
        texts = self._texts.options
        settings = {theirs: getattr(texts, ours) for theirs, (ours, _) in _SETTINGS.items()}
        own = {"dim": self._options.dim, "similarity": self._options.similarity}
        write_json(directory / _METADATA, {**settings, **own, "mask_punctuation": not texts.punctuation})

    def _can_match(self, layout: Layout) -> Tensor:
        ids = tf.gather(tf.reshape(layout.ids, [-1]), tf.maximum(layout.places, 0))
        matches = tf.gather(self._matches, ids)
        return tf.logical_and(token_mask(layout), matches > 0)

    def _take_linear(self, given: Pretrained, needed: bool) -> None:
        """Load the linear map of a directory, if it has one; MissingError if it is `needed`."""
        where, shape = str(given.directory), given.stored.shapes.get(_LINEAR)
        if shape is None:
            what = f"no {_LINEAR} among the weights"
            if needed:
                raise MissingError(what, where=where, fix="train it first: reranker.pretrained")
            say(f"{where}: {what}; it starts from random values")
            return
        if shape[0] != self._options.dim:
            what = f"{where} has vectors of {shape[0]} numbers, not {self._options.dim}"
            raise ConfigError(what, where="reranker.dim", fix=f"reranker.dim={shape[0]}")
        self._linear.update(values_from(self._linear.weights, {_LINEAR: given.stored[_LINEAR]}, "reranker", where))
