"""The computation of DeBERTa, versions 2 and 3: embeddings, layers, and in some models a convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rankcli.backend import tf
from rankcli.encoders.attention import Attention
from rankcli.encoders.base import Encoder, Tensor
from rankcli.encoders.config import EncoderConfig
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.heads import ACTIVATIONS_OF_HEADS
from rankcli.encoders.layers import Block, Stack, normed
from rankcli.encoders.layouts import size
from rankcli.encoders.parameters import Parameters
from rankcli.shapes import Layout


@dataclass(frozen=True, kw_only=True)
class DebertaConfig(EncoderConfig):
    """Besides the common fields: how positions are used.

    `asked` are the terms of positions (`c2p`, `p2c`), whose number scales all logits. They are computed if `relative`:
    with `buckets` (0 for none) of distances, the layer's own kernels if `shared`, and a norm of the table if `normed`.
    `absolute` adds embeddings of positions. `taps` are those of a convolution, 0 for none.
    """

    asked: tuple[str, ...] = ()
    relative: bool = False
    absolute: bool = True
    shared: bool = False
    normed: bool = False
    buckets: int = 0
    max_relative: int = -1
    taps: int = 0
    taps_act: str = "tanh"
    pooler_act: str = "gelu"

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms that are computed."""
        return self.asked if self.relative else ()

    @property
    def farthest(self) -> int:
        """The distance up to which there are buckets."""
        return self.max_relative if self.max_relative > 0 else self.max_positions

    @property
    def scale(self) -> float:
        """The factor of all terms."""
        return float(((1 + len(self.asked)) * self.hidden_size / self.heads) ** -0.5)


class DebertaEncoder(Encoder):
    """Embeddings and equal layers; a convolution of the embeddings is added to the first layer's result."""

    config: DebertaConfig

    def __init__(self, config: DebertaConfig, parameters: Parameters, block: Block) -> None:
        super().__init__(config, parameters)
        layers = [(f"layer_{n}", block) for n in range(config.layers)]
        self._first, self._others = Stack(parameters, layers[:1]), Stack(parameters, layers[1:])

    def states(self, layout: Layout, dropout: Dropout | None = None, layers: Sequence[int] = (-1,)) -> list[Tensor]:
        """Return the states of all tokens, [T, D] each, after the numbered layers: 0 for the embeddings, -1 for the
        last.
        """
        depths = range(self.config.layers + 1)
        wanted = [depths[n] for n in layers]
        attention = Attention(layout, self.config.heads, self.config.max_positions)
        kept = {0: self._embed(layout, dropout)}
        if any(wanted):
            (states,) = self._first(kept[0], attention, dropout)
            key = self.noise("convolution", dropout)
            kept[1] = self._convolved(kept[0], states, layout, key) if self.config.taps else states
        if deeper := [n for n in wanted if n > 1]:
            key = None if dropout is None else dropout.fold(-1)
            found = self._others(kept[1], attention, key, [n - 1 for n in deeper])
            kept |= zip(deeper, found, strict=True)
        return [kept[n] for n in wanted]

    def _embed(self, layout: Layout, dropout: Dropout | None) -> Tensor:
        dropout = self.noise("embeddings", dropout)
        config, parameters = self.config, self.parameters
        ids, positions, segments = (tf.reshape(x, [-1]) for x in (layout.ids, layout.positions, layout.segments))
        states = tf.gather(parameters.exact("embeddings/word_embeddings"), ids)
        if config.absolute:
            states += tf.gather(parameters.exact("embeddings/position_embeddings"), positions)
        if config.type_vocab_size:
            segments = segments if config.type_vocab_size > 1 else tf.zeros_like(segments)
            chosen = tf.one_hot(segments, config.type_vocab_size)
            states += tf.matmul(chosen, parameters.exact("embeddings/token_type_embeddings"))
        if config.embedding_size != config.hidden_size:
            states = parameters.dense("embeddings_project", tf.cast(states, parameters.dtype), dropout)
        states = tf.cast(self._normed("embeddings/layer_norm", states, dropout), parameters.dtype)
        return states if dropout is None else dropout.fold(0).apply(states, config.dropout)

    def _convolved(self, embedded: Tensor, states: Tensor, layout: Layout, dropout: Dropout | None) -> Tensor:
        """Return the states after the convolution, which sees zeros beyond the ends of a sequence."""
        config, count, side = self.config, size(embedded, 0), self.config.taps // 2
        owner = tf.reshape(layout.sequence, [-1])
        around, owners = tf.pad(embedded, [[side, side], [0, 0]]), tf.pad(owner, [[side, side]], constant_values=-1)
        total = tf.zeros_like(states) + self.parameters["convolution/bias"]
        for tap, kernel in enumerate(tf.unstack(self.parameters["convolution/kernel"])):
            own = (owners[tap : tap + count] == owner)[:, None]
            total += tf.matmul(tf.where(own, around[tap : tap + count], 0), kernel)
        if dropout is not None:
            total = dropout.fold(-2).apply(total, config.dropout)
        return self._normed("convolution/layer_norm", states + ACTIVATIONS_OF_HEADS[config.taps_act](total), dropout)

    def _normed(self, path: str, x: Tensor, dropout: Dropout | None) -> Tensor:
        return normed(self.parameters, path, x, self.config.layer_norm_eps, dropout is not None)
