"""Self-attention among the documents of a list, over their features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS, option
from rankcli.config.types import NonNegativeInt, PositiveInt, Rate
from rankcli.encoders import layouts
from rankcli.encoders.attention import Attention, shares
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.layers import Block, Stack
from rankcli.encoders.layers import layer_weights as transformer_weights
from rankcli.encoders.parameters import Parameters
from rankcli.rerankers._features import features_width
from rankcli.rerankers._words import layer_weights
from rankcli.rerankers.base import Reranker, RerankerContext, RerankerOptions
from rankcli.shapes import Batch, Outputs


@RERANKERS.register("listattention")
@dataclass(frozen=True, kw_only=True)
class ListAttention(RerankerOptions):
    """A transformer over the documents of a query, without positions, as a list has no order before it is ranked
    (Pobrotyn et al., "Context-Aware Learning to Rank with Self-Attention", 2020; allRank; TF-Ranking's document
    interaction network).

    Features go through a linear layer of size `hidden`, then through `layers` transformer layers, normalised after each
    part, then through a linear layer. A score depends on all documents of the list: rerank as many as were trained on.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("features",)
    default_extractor: ClassVar[str] = "features"
    listwise: ClassVar[bool] = True
    tiny: ClassVar[Mapping[str, Any]] = {"hidden": 4, "layers": 1, "heads": 2, "inner": 6}
    hidden: PositiveInt = option(128, "size of a document's states")
    layers: NonNegativeInt = option(4, "transformer layers")
    heads: PositiveInt = option(4, "attention heads; `hidden` must be a multiple")
    inner: PositiveInt = option(512, "size of the feed-forward layers")
    dropout: Rate = option(0.3, "dropout rate in the transformer layers, in attention too")

    def __post_init__(self) -> None:
        if self.hidden % self.heads:
            raise ValueError(f"hidden ({self.hidden}) must be a multiple of heads ({self.heads})")

    def check(self, ctx: RerankerContext) -> None:
        """Raise ConfigError where the extractor makes no numbers."""
        features_width(ctx)

    def build(self, ctx: RerankerContext) -> ListAttentionModel:
        """Make the layers."""
        return ListAttentionModel(self, ctx)


class ListAttentionModel(Reranker):
    """The layers, with random weights."""

    def __init__(self, options: ListAttention, ctx: RerankerContext) -> None:
        rate = options.dropout
        block = Block(activation="relu", epsilon=1e-6, dropout=rate, inner_dropout=rate, attention_dropout=rate)
        paths = [f"layer_{n}" for n in range(options.layers)]
        weights = layer_weights("input", features_width(ctx), options.hidden)
        for path in paths:
            weights += transformer_weights(block, path, options.hidden, options.inner)
        weights += layer_weights("output", options.hidden, 1)
        parameters = ctx.parameters(weights, options.hidden**-0.5)
        self.parameters = {"net": parameters}
        self._stack, self._heads = Stack(parameters, [(path, block) for path in paths]), options.heads

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute the scores."""
        net, x = self.parameters["net"], batch.fields["features"]
        states = _dense(net, "input", x)
        size = states.shape[-1]
        lists = _Lists(batch.doc_mask, self._heads)
        (states,) = self._stack(tf.reshape(states, [-1, size]), lists, dropout)
        states = tf.reshape(states, [layouts.size(x, 0), layouts.size(x, 1), size])
        return Outputs(_dense(net, "output", states)[..., 0])

    def save_config(self, directory: Path) -> None:
        """Write nothing: the extractor saves what is known of the features."""


class _Lists(Attention):
    """Attention of each document to those of its list; what else `Attention` has is of layouts, and not used."""

    def __init__(self, doc_mask: Any, heads: int) -> None:
        self.heads, self._docs = heads, (layouts.size(doc_mask, 0), layouts.size(doc_mask, 1))
        self._bias = layouts.bias_of(doc_mask[:, None, :])

    def __call__(self, parts: Any, dropout: Dropout | None = None, rate: float = 0.0, **unused: Any) -> Any:
        """Return the attention output of each document, [B K, D]. `parts` [B K, 3 D] are queries, keys and values."""
        width = parts.shape[-1] // (3 * self.heads)
        rows = tf.reshape(parts, [*self._docs, 3, self.heads, width])
        queries, keys, values = tf.unstack(tf.transpose(rows, [2, 0, 3, 1, 4]))
        logits = tf.matmul(queries * width**-0.5, keys, transpose_b=True)
        context = tf.matmul(shares(logits, self._bias, dropout, rate), values)
        return tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [-1, self.heads * width])


def _dense(net: Parameters, path: str, x: Any) -> Any:
    return tf.tensordot(x, net.exact(f"{path}/kernel"), 1) + net.exact(f"{path}/bias")
