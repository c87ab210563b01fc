"""BERT (Devlin et al. 2019) and ELECTRA (Clark et al. 2020) encoders, one class.

This module imports TensorFlow; component modules import it while they build.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from rankcli.backend import tf
from rankcli.encoders import _layout
from rankcli.encoders._initial import variable
from rankcli.encoders._weights import values_from, weights_of
from rankcli.encoders.config import EncoderConfig
from rankcli.encoders.dropout import Dropout
from rankcli.errors import ConfigError
from rankcli.shapes import Layout

Pooling: TypeAlias = Literal["cls", "mean", "pooler"]
Tensor: TypeAlias = Any

_ACTIVATIONS = {
    "gelu": lambda x: tf.nn.gelu(x, approximate=False),
    "gelu_new": lambda x: tf.nn.gelu(x, approximate=True),
    "relu": lambda x: tf.nn.relu(x),
}


class TransformerEncoder(tf.keras.layers.Layer):  # type: ignore[misc]
    """Token states and pooled vectors of laid-out sequences.

    Variables are float32 and are cast to `dtype` where they are used; softmax and layer normalisation are computed in
    float32 whatever the dtype. `paths` maps each variable's unique path to it.
    """

    def __init__(self, config: EncoderConfig, seed: int = 42, dtype: str = "float32", pooler: bool = False) -> None:
        super().__init__(name="encoder")
        if pooler and config.kind != "bert":
            raise ConfigError(f"pooling: {config.kind} encoders have no pooler", fix="use `cls` or `mean`")
        self.config = config
        self._type = tf.as_dtype(dtype)
        self.specs = weights_of(config, pooler)
        scale = config.initializer_range
        self.paths = {w.path: variable(w.path, w.shape, w.init, seed, scale) for w in self.specs}

    def tokens(self, layout: Layout, dropout: Dropout | None = None) -> tuple[Tensor, Tensor]:
        """The last layer's states [N, L, D] in the compute dtype, and which of them are tokens, bool [N, L]."""
        states, bias = self._embed(layout, dropout), _layout.attention_bias(layout)
        for n in range(self.config.layers):
            states = self._layer(n, states, states, bias, dropout)
        return states, _layout.token_mask(layout)

    def pooled(self, layout: Layout, pooling: Pooling, dropout: Dropout | None = None) -> Tensor:
        """Float32 [N, D]: the first token's state, or that through the pooler (dense and tanh), or the tokens' mean."""
        if pooling == "mean":
            return _layout.token_means(self.tokens(layout, dropout)[0], layout)
        first = self._first_states(layout, dropout)
        if pooling == "pooler":
            first = tf.tanh(self._dense("pooler", first))
        return tf.cast(first, tf.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """All weights under Hugging Face's names without model prefix, kernels [out, in]."""
        return {
            name: part for weight in self.specs for name, part in weight.stored(self.paths[weight.path].numpy()).items()
        }

    def assign(self, tensors: dict[str, np.ndarray]) -> None:
        """Set all weights from what `tensors` returned; StorageError, with nothing set, when names or shapes differ."""
        for path, value in values_from(self.specs, tensors).items():
            self.paths[path].assign(value)

    def _first_states(self, layout: Layout, dropout: Dropout | None) -> Tensor:
        """The first tokens' states [N, D]: the last layer has queries and a feed-forward net for these alone."""
        states, bias = self._embed(layout, dropout), _layout.attention_bias(layout)
        last = self.config.layers - 1
        for n in range(last):
            states = self._layer(n, states, states, bias, dropout)
        first = _layout.first_tokens(states)
        if last < 0:
            return first
        return self._layer(last, first[:, None], states, bias, dropout)[:, 0]

    def _embed(self, layout: Layout, dropout: Dropout | None) -> Tensor:
        word = tf.gather(self._weight("embeddings/word_embeddings"), layout.ids)
        position = tf.gather(self._weight("embeddings/position_embeddings"), layout.positions)
        # Two rows or so: a product is as fast as a look-up, and its gradient is dense and small.
        segments = tf.one_hot(layout.segments, self.config.type_vocab_size, dtype=self._type)
        segment = tf.tensordot(segments, self._weight("embeddings/token_type_embeddings"), 1)
        states = self._norm("embeddings/layer_norm", word + position + segment)
        states = self._drop(states, self.config.dropout, dropout, 0)
        if self.config.embedding_size != self.config.hidden_size:
            states = self._dense("embeddings_project", states)
        return states

    def _layer(self, n: int, queries: Tensor, states: Tensor, bias: Tensor, dropout: Dropout | None) -> Tensor:
        """Layer `n` for the tokens `queries` [R, Q, D], which attend to `states` [R, L, D]."""
        path, rate, key = f"layer_{n}", self.config.dropout, 3 * n + 1
        context = self._attend(n, queries, states, bias, dropout, key)
        attended = self._drop(self._dense(f"{path}/attention/output", context), rate, dropout, key + 1)
        hidden = self._norm(f"{path}/attention/layer_norm", queries + attended)
        inner = _ACTIVATIONS[self.config.hidden_act](self._dense(f"{path}/intermediate", hidden))
        output = self._drop(self._dense(f"{path}/output", inner), rate, dropout, key + 2)
        return self._norm(f"{path}/layer_norm", hidden + output)

    def _attend(
        self, n: int, queries: Tensor, states: Tensor, bias: Tensor, dropout: Dropout | None, key: int
    ) -> Tensor:
        """Scaled dot-product attention, heads side by side: [R, Q, D]."""
        query, keys, values = self._heads(f"layer_{n}/attention/qkv", queries, states)
        logits = tf.matmul(query * query.shape[-1] ** -0.5, keys, transpose_b=True)
        shares = tf.cast(tf.nn.softmax(tf.cast(logits, tf.float32) + bias), self._type)
        shares = self._drop(shares, self.config.attention_dropout, dropout, key)
        context = tf.transpose(tf.matmul(shares, values), [0, 2, 1, 3])
        return tf.reshape(context, [*_shape(queries)[:2], self.config.hidden_size])

    def _heads(self, path: str, queries: Tensor, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [R, H, Q, D/H], keys and values [R, H, L, D/H], from one product where all tokens are queries."""
        if queries is states:
            query, keys, values = self._split(self._dense(path, states), 3)
            return query, keys, values
        kernel, bias, width = self._weight(f"{path}/kernel"), self._weight(f"{path}/bias"), self.config.hidden_size
        (query,) = self._split(_affine(queries, kernel[:, :width], bias[:width]), 1)
        keys, values = self._split(_affine(states, kernel[:, width:], bias[width:]), 2)
        return query, keys, values

    def _split(self, x: Tensor, parts: int) -> list[Tensor]:
        """[R, L, parts * D] to `parts` tensors [R, H, L, D/H]."""
        heads, width = self.config.heads, self.config.hidden_size // self.config.heads
        apart = tf.reshape(x, [*_shape(x)[:2], parts, heads, width])
        return list(tf.unstack(tf.transpose(apart, [2, 0, 3, 1, 4])))

    def _dense(self, path: str, x: Tensor) -> Tensor:
        return _affine(x, self._weight(f"{path}/kernel"), self._weight(f"{path}/bias"))

    def _norm(self, path: str, x: Tensor) -> Tensor:
        """Layer normalisation over the last axis, computed in float32."""
        x = tf.cast(x, tf.float32)
        centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
        scaled = centred * tf.math.rsqrt(variance + self.config.layer_norm_eps)
        normed = scaled * self.paths[f"encoder/{path}/gamma"] + self.paths[f"encoder/{path}/beta"]
        return tf.cast(normed, self._type)

    def _drop(self, x: Tensor, rate: float, dropout: Dropout | None, key: int) -> Tensor:
        return x if dropout is None or rate == 0 else dropout.fold(key).apply(x, rate)

    def _weight(self, path: str) -> Tensor:
        return tf.cast(self.paths[f"encoder/{path}"], self._type)


def _affine(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """`x` [..., in] times `kernel` plus `bias`, as one matrix product over all leading axes."""
    rows = tf.nn.bias_add(tf.matmul(tf.reshape(x, [-1, kernel.shape[0]]), kernel), bias)
    return tf.reshape(rows, [*_shape(x)[:-1], kernel.shape[1]])


def _shape(x: Tensor) -> list[Any]:
    """The shape of `x`, static where it is known."""
    dynamic = tf.shape(x)
    return [dynamic[i] if size is None else size for i, size in enumerate(x.shape)]
