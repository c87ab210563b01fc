"""Transformer encoders whose layers normalise what they read, as in ModernBERT and T5."""

from __future__ import annotations

from collections.abc import Sequence

from rankcli.backend import tf
from rankcli.encoders.attention import Attention
from rankcli.encoders.base import Encoder, Tensor
from rankcli.encoders.config import EncoderConfig
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.layers import Block, Stack, normed
from rankcli.encoders.parameters import Parameters
from rankcli.shapes import Layout


class PreNormEncoder(Encoder):
    """Embeddings of words, a stack of pre-norm layers, and a normalisation of the last layer's result.

    In any dtype of the computation, vectors between layers are float32, because each layer adds a small term to them.
    """

    def __init__(
        self, config: EncoderConfig, parameters: Parameters, blocks: Sequence[Block], last_dropout: float = 0.0
    ) -> None:
        super().__init__(config, parameters)
        self._stack = Stack(parameters, [(f"layer_{n}", block) for n, block in enumerate(blocks)])
        self._norm, self._last_dropout = blocks[0].norm if blocks else "layer", last_dropout

    def states(self, layout: Layout, dropout: Dropout | None = None, layers: Sequence[int] = (-1,)) -> list[Tensor]:
        """Return the states of all tokens, [T, D] each, after the numbered layers: 0 for the embeddings, -1 for the
        last, which is normalised.
        """
        last = self.config.layers
        attention = Attention(layout, self.config.heads, self.config.max_positions)
        states = self._stack(self._embed(layout, dropout), attention, dropout, layers)
        found = [self._finished(x, dropout) if n in (-1, last) else x for n, x in zip(layers, states, strict=True)]
        return [tf.cast(x, self.parameters.dtype) for x in found]

    def _embed(self, layout: Layout, dropout: Dropout | None) -> Tensor:
        dropout = self.noise("embeddings", dropout)
        words = tf.gather(self.parameters.exact("embeddings/word_embeddings"), tf.reshape(layout.ids, [-1]))
        states = self._normed("embeddings/layer_norm", words, dropout)
        return states if dropout is None else dropout.fold(0).apply(states, self.config.dropout)

    def _finished(self, states: Tensor, dropout: Dropout | None) -> Tensor:
        states = self._normed("last_norm", states, dropout)
        return states if dropout is None else dropout.fold(3 * self.config.layers + 1).apply(states, self._last_dropout)

    def _normed(self, path: str, x: Tensor, dropout: Dropout | None) -> Tensor:
        return normed(self.parameters, path, x, self.config.layer_norm_eps, dropout is not None, self._norm)
