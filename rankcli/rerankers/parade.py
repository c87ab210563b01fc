"""Passages to one vector of the document, from which it is scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from rankcli.backend import tf
from rankcli.config.registry import ADAPTERS, RERANKERS, component, option
from rankcli.config.types import Rate
from rankcli.encoders.attention import Attention
from rankcli.encoders.config import TINY, EncoderConfig, EncoderSize
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.layers import Block, Stack
from rankcli.encoders.layers import layer_weights as block_weights
from rankcli.encoders.layouts import size
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.weights import Weight
from rankcli.errors import ConfigError
from rankcli.extractors.base import Extractor, sequence_spec
from rankcli.rerankers._towers import config_json
from rankcli.rerankers._words import layer_weights
from rankcli.rerankers.base import Reranker, RerankerContext, RerankerOptions
from rankcli.rerankers.foreign import write_json
from rankcli.rerankers.ops import Aggregation, Tensor, by_document, per_document
from rankcli.shapes import Batch, Example, Layout, Outputs

_LAYERS = [f"aggregator/layer_{n}" for n in range(2)]
_CLS, _POSITIONS, _ATTENTION = "aggregator/cls", "aggregator/positions", "aggregator/attention/kernel"
_POOLED: Mapping[str, Aggregation] = {"max": "max", "avg": "avg", "sum": "sum"}
_WORDS = "embeddings/word_embeddings"


@RERANKERS.register("parade")
@dataclass(frozen=True, kw_only=True)
class PARADE(RerankerOptions):
    """PARADE (Li et al., TOIS 2023, section 3): p_i is the state of the first token of `[CLS] query [SEP] passage i
    [SEP]`; d is made of all p_i of a document, and the score is w . d + b.

    `max`, `avg`, `sum`: of each number. `attn`: sum of a_i p_i with a = softmax(v . p_i). `transformer`: two layers of
    the encoder's size over (x_0, p_1, p_2, ...), of which the first result is d. `cnn`: convolutions of width and
    stride 2 halve the passages until one is left, and the score is the sum of a net with one hidden layer over all that
    they compute.

    Passages that a document does not have are masked; `cnn` sees zeros in their place. x_0 starts as the encoder's
    vector of the first token, and is trained; the authors' and Capreolus' are constants. Vectors of positions are
    trained, too (`positions: false`: none, as in the authors' code). The paper names no activation of `cnn`: ReLU.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    default_extractor: ClassVar[str] = "pooledpassage"
    tiny: ClassVar[Mapping[str, Any]] = {"encoder": TINY}
    pretrained: str | None = option(None, "hub id or directory of an encoder; default: random weights", path="model")
    encoder: EncoderSize = option(EncoderSize(), "the size of the encoder where nothing is pretrained")
    adapter: Any = component(ADAPTERS, None, "trained in place of the encoder's weights: `lora`; default: no adapter")
    aggregation: Literal["transformer", "max", "avg", "sum", "attn", "cnn"] = option(
        "transformer", "how the vectors of passages become the document's"
    )
    positions: bool = option(True, "whether `transformer` adds vectors of the passages' places")
    dropout: Rate = option(0.1, "dropout rate of the layers of `transformer`")

    def check(self, ctx: RerankerContext) -> None:
        """Raise ConfigError where convolutions cannot halve the passages."""
        most = sequence_spec(ctx.extractor, "pair").most
        if self.aggregation == "cnn" and (most < 2 or most & (most - 1)):
            fix = "choose 2, 4, 8, 16, ... passages, or another reranker.aggregation"
            raise ConfigError(f"cnn cannot halve {most} passages", where="extractor.numpassages", fix=fix)

    def build(self, ctx: RerankerContext) -> PARADEModel:
        """Load pretrained weights or make random ones."""
        return PARADEModel(self, ctx)


class PARADEModel(Reranker):
    """An encoder, what joins the passages, and a linear layer."""

    def __init__(self, options: PARADE, ctx: RerankerContext) -> None:
        options.check(ctx)
        self._options, self._most = options, sequence_spec(ctx.extractor, "pair").most
        self.adapter = ctx.adapter(options.adapter, options.pretrained)
        self._encoder = ctx.encoder(options.encoder, "pair", adapter=self.adapter)
        config = self._encoder.config
        weights = head_weights(options, config, self._most)
        self._head = ctx.parameters(weights, config.initializer_range)
        self._join = None if options.aggregation in _POOLED else Join(options, self._head, config.heads)
        self.parameters = {"encoder": self._encoder.parameters, "head": self._head}
        self.encoders = {"encoder": self._encoder}
        if _CLS in self._head:
            self._start(ctx.extractor)

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute the scores."""
        pair, mask = batch.fields["pair"], batch.doc_mask
        keys = [None, None] if dropout is None else [dropout.fold(0), dropout.fold(1)]
        vectors = self._encoder.pooled(pair.layout, "cls", keys[0])
        if self._join is None:
            joined = per_document(vectors, pair.owner, mask, _POOLED[self._options.aggregation])
            scores = dense(self._head, "score", joined)[..., 0]
        else:
            passages, there = by_document(vectors, pair.owner, mask, self._most)
            scores = tf.reshape(self._join(passages, there, keys[1]), tf.shape(mask))
        return Outputs(tf.where(mask, scores, 0.0))

    def save_config(self, directory: Path) -> None:
        """Write `config.json` of the encoder, which other tools open without the rest."""
        write_json(directory / "config.json", config_json(self._encoder))

    def _start(self, extractor: Extractor) -> None:
        """Set x_0 to the vector of the first token of every sequence, if the encoder has one of this size."""
        table, width = self._encoder.parameters, self._encoder.config.hidden_size
        if _WORDS in table and table.exact(_WORDS).shape[1] == width:
            self._head.update({_CLS: tf.gather(table.exact(_WORDS), first_token(extractor)).numpy()})


class Join:
    """The scores of documents from the vectors of their passages, by `attn`, `transformer` or `cnn`."""

    def __init__(self, options: PARADE, head: Parameters, heads: int) -> None:
        self._head, self._heads = head, heads
        self._stack = Stack(head, [(path, block(options.dropout)) for path in _LAYERS])
        self._scored = {"attn": self._attn, "transformer": self._transformer, "cnn": self._cnn}[options.aggregation]

    def __call__(self, passages: Tensor, there: Tensor, dropout: Dropout | None) -> Tensor:
        """Return the scores [S] of documents with these passages, [S, P, D], of which those in the mask are there."""
        return self._scored(passages, there, dropout)

    def _attn(self, passages: Tensor, there: Tensor, dropout: Dropout | None) -> Tensor:
        logits = tf.tensordot(passages, self._head.exact(_ATTENTION), 1)[..., 0]
        shares = tf.nn.softmax(tf.where(there, logits, -1e9), axis=-1)
        return dense(self._head, "score", tf.reduce_sum(shares[..., None] * passages, axis=1))[:, 0]

    def _transformer(self, passages: Tensor, there: Tensor, dropout: Dropout | None) -> Tensor:
        count, length, width = size(passages, 0), passages.shape[1] + 1, passages.shape[2]
        start = tf.broadcast_to(self._head.exact(_CLS), [count, 1, width])
        states = tf.concat([start, passages], axis=1)
        if _POSITIONS in self._head:
            states += self._head.exact(_POSITIONS)
        attention = Attention(rows_of(tf.pad(there, [[0, 0], [1, 0]], constant_values=True)), self._heads, length)
        return dense(self._head, "score", self._stack.first(tf.reshape(states, [-1, width]), attention, dropout))[:, 0]

    def _cnn(self, passages: Tensor, there: Tensor, dropout: Dropout | None) -> Tensor:
        total, width = tf.zeros_like(passages[:, 0, 0]), passages.shape[2]
        for n in range(passages.shape[1].bit_length() - 1):
            pairs = tf.reshape(passages, [-1, passages.shape[1] // 2, 2 * width])
            passages = tf.nn.relu(dense(self._head, f"aggregator/convolution_{n}", pairs))
            inner = tf.nn.relu(dense(self._head, "aggregator/inner", passages))
            total += tf.reduce_sum(dense(self._head, "score", inner)[..., 0], axis=1)
        return total


def block(rate: float) -> Block:
    """Return a layer of BERT with this rate of dropout."""
    return Block(dropout=rate, attention_dropout=rate)


def dense(head: Parameters, path: str, x: Tensor) -> Tensor:
    """Apply the dense layer at a path to the last axis."""
    return tf.tensordot(x, head.exact(f"{path}/kernel"), 1) + head.exact(f"{path}/bias")


def rows_of(there: Tensor) -> Layout:
    """Return a layout of one row for each sequence; a mask [S, L] has the places that are not padding."""
    count, length = size(there, 0), there.shape[1]
    places = tf.reshape(tf.range(count * length), [count, length])
    row, zeros = places // length, tf.zeros_like(places)
    owner, places_there = (tf.where(there, x, -1) for x in (row, places))
    return Layout(zeros, places % length, zeros, owner, places_there, zeros)


def head_weights(options: PARADE, config: EncoderConfig, most: int) -> list[Weight]:
    """Return the weights over the vectors of at most `most` passages."""
    width, scale = config.hidden_size, config.initializer_range
    weights = layer_weights("score", width, 1, scale)
    if options.aggregation == "attn":
        weights.append(Weight(_ATTENTION, (width, 1), ("aggregator.attention.weight",), "normal", transposed=True))
    elif options.aggregation == "transformer":
        weights.append(Weight(_CLS, (width,), ("aggregator.cls",), "normal"))
        if options.positions:
            weights.append(Weight(_POSITIONS, (most + 1, width), ("aggregator.positions",), "normal"))
        for path in _LAYERS:
            weights += block_weights(block(options.dropout), path, width, config.intermediate_size)
    elif options.aggregation == "cnn":
        for n in range(most.bit_length() - 1):
            weights += layer_weights(f"aggregator/convolution_{n}", 2 * width, width)
        weights += layer_weights("aggregator/inner", width, width)
    return weights


def first_token(extractor: Extractor) -> int:
    """Return the id of the first token of every sequence."""
    nothing = np.empty(0, np.int32)
    empty = Example("", ("",), np.zeros(1, np.float32), {"query": nothing}, {"doc": (nothing,)})
    sequences: Any = extractor.extract(empty)["pair"]
    return int(sequences[0].ids[0])
