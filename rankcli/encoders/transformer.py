"""Transformer encoders whose embeddings are sums of words, absolute positions and segments, as in BERT."""

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


class TransformerEncoder(Encoder):
    """Embeddings, and a stack of layers, given by their paths and options. Layers of one path have equal weights.

    A sequence's first token has row `first_position` of the position table, the others the rows after it.
    """

    def __init__(
        self,
        config: EncoderConfig,
        parameters: Parameters,
        layers: Sequence[tuple[str, Block]],
        first_position: int = 0,
    ) -> None:
        super().__init__(config, parameters)
        self._first_position = first_position
        self._stack = Stack(parameters, layers)

    def states(self, layout: Layout, dropout: Dropout | None = None, layers: Sequence[int] = (-1,)) -> list[Tensor]:
        """Return the states of all tokens, [T, D] each, after the numbered layers: 0 for the embeddings, -1 for the
        last.
        """
        return self._stack(self._embed(layout, dropout), self._attention(layout), dropout, layers)

    def first(self, layout: Layout, dropout: Dropout | None = None) -> Tensor:
        """Return the last state of each sequence's first token, [N, D]."""
        return self._stack.first(self._embed(layout, dropout), self._attention(layout), dropout)

    def pooler(self, first: Tensor) -> Tensor:
        """Apply a dense layer and tanh."""
        return tf.tanh(self.parameters.dense("pooler", first))

    def _attention(self, layout: Layout) -> Attention:
        return Attention(layout, self.config.heads, self.config.max_positions)

    def _embed(self, layout: Layout, dropout: Dropout | None) -> Tensor:
        dropout = self.noise("embeddings", dropout)
        config, training = self.config, dropout is not None
        ids, positions, segments = (tf.reshape(x, [-1]) for x in (layout.ids, layout.positions, layout.segments))
        # Looked up in float32: a cast would read all rows of the table, and make its gradient dense.
        word = tf.gather(self.parameters.exact("embeddings/word_embeddings"), ids)
        rest = self._places(positions + self._first_position, segments, training)
        states = normed(self.parameters, "embeddings/layer_norm", word + rest, config.layer_norm_eps, training)
        states = tf.cast(states, self.parameters.dtype)
        if dropout is not None and config.dropout:
            states = dropout.fold(0).apply(states, config.dropout)
        if "embeddings_project/kernel" in self.parameters:
            states = self.parameters.dense("embeddings_project", states, dropout)
        return states

    def _places(self, positions: Tensor, segments: Tensor, training: bool) -> Tensor:
        """Return the embeddings of positions and segments (if the model has them), float32 [T, D]."""
        of_positions = self.parameters.exact("embeddings/position_embeddings")
        if self.config.type_vocab_size == 0:
            return tf.gather(of_positions, positions)
        of_segments = self.parameters.exact("embeddings/token_type_embeddings")
        if self.config.type_vocab_size == 1:  # such models are made with segment 0 for all, whatever the tokenizer says
            return tf.gather(of_positions, positions) + of_segments
        if training:
            # With about two segments, a product is as fast as a look-up, and its gradient is dense and small.
            chosen = tf.one_hot(segments, self.config.type_vocab_size)
            return tf.gather(of_positions, positions) + tf.matmul(chosen, of_segments)
        sums = of_segments[:, None] + of_positions[None]
        return tf.gather(tf.reshape(sums, [-1, sums.shape[-1]]), segments * sums.shape[1] + positions)
