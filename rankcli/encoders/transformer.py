"""BERT (Devlin et al. 2019) and ELECTRA (Clark et al. 2020) encoders, one class.

This module imports TensorFlow; component modules import it while they build.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from rankcli.backend import tf
from rankcli.encoders import _arithmetic, layouts
from rankcli.encoders.config import EncoderConfig
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.initial import variable
from rankcli.encoders.weights import values_from, weights_of
from rankcli.errors import ConfigError
from rankcli.shapes import Layout

Pooling: TypeAlias = Literal["cls", "mean", "pooler"]
Tensor: TypeAlias = Any

CONSTANT_BYTES = 1 << 28  # BERT-base has 170 MB in bfloat16; a graph may have 2 GB, and its optimiser copies it

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
        self._constants: dict[str, np.ndarray] = {}

    def tokens(self, layout: Layout, dropout: Dropout | None = None) -> tuple[Tensor, Tensor]:
        """The last layer's states [N, M, D] in the compute dtype, and which of them are tokens, bool [N, M]."""
        states = self._states(layout, dropout, self.config.layers)
        return layouts.by_sequence(states, layout), layouts.token_mask(layout)

    def pooled(self, layout: Layout, pooling: Pooling, dropout: Dropout | None = None) -> Tensor:
        """Float32 [N, D]: the first token's state, or that through the pooler (dense and tanh), or the tokens' mean."""
        if pooling == "mean":
            return layouts.token_means(self._states(layout, dropout, self.config.layers), layout)
        first = self._first_states(layout, dropout)
        if pooling == "pooler":
            first = tf.tanh(self._dense("pooler", first))
        return tf.cast(first, tf.float32)

    def freeze(self) -> None:
        """Have what is traced from now on hold kernels and biases as constants, in the dtype that it computes in: on
        CPUs oneDNN lays constant kernels out once, and products take an eighth less time.
        """
        used = {path: variable for path, variable in self.paths.items() if path.endswith(("/kernel", "/bias"))}
        size = sum(variable.shape.num_elements() for variable in used.values()) * self._type.size
        if _arithmetic.on_cpu() and size <= CONSTANT_BYTES:
            self._constants = {path: tf.cast(variable, self._type).numpy() for path, variable in used.items()}

    def tensors(self) -> dict[str, np.ndarray]:
        """All weights under Hugging Face's names without model prefix, kernels [out, in]."""
        return {
            name: part for weight in self.specs for name, part in weight.stored(self.paths[weight.path].numpy()).items()
        }

    def assign(self, tensors: dict[str, np.ndarray]) -> None:
        """Set all weights from what `tensors` returned; StorageError, with nothing set, when names or shapes differ."""
        for path, value in values_from(self.specs, tensors).items():
            self.paths[path].assign(value)

    def _states(self, layout: Layout, dropout: Dropout | None, layers: int) -> Tensor:
        """The states of all tokens [T, D] after so many layers."""
        states, attention = self._embed(layout, dropout), layouts.Attention(layout, self.config.heads)
        for n in range(layers):
            rows = attention.apart(self._dense(f"layer_{n}/attention/qkv", states))
            contexts = [
                self._attend(heads, bias, _part(dropout, 3 * n + 1, c))
                for c, (heads, bias) in enumerate(zip(rows, attention.biases, strict=True))
            ]
            states = self._after_attention(n, states, attention.together(contexts), dropout)
        return states

    def _first_states(self, layout: Layout, dropout: Dropout | None) -> Tensor:
        """The first tokens' states [N, D]: the last layer has queries and a feed-forward net for these alone.

        Nor has it keys and values of all tokens: q (W x) is (q W) x, and a sum of W x is W times the sum, so each head
        maps its one query, and the one state that it sums up, in their place. The bias of keys adds the same to all
        logits, which softmax takes away.
        """
        last = self.config.layers - 1
        states = self._states(layout, dropout, max(last, 0))
        first = layouts.first_tokens(states, layout)
        if last < 0:
            return first
        kernels, biases = self._by_head(f"layer_{last}/attention/qkv")
        query = tf.matmul(first[None], kernels[0]) + biases[0]
        wanted = tf.matmul(query * query.shape[-1] ** -0.5, kernels[1], transpose_b=True)
        rows = layouts.by_sequence(states, layout)
        logits = tf.matmul(tf.transpose(wanted, [1, 0, 2]), rows, transpose_b=True)
        shares = self._shares(logits, layouts.attention_bias(layout), _part(dropout, 3 * last + 1, 0))
        seen = tf.matmul(tf.transpose(tf.matmul(shares, rows), [1, 0, 2]), kernels[2])
        total = tf.transpose(tf.reduce_sum(shares, axis=2, keepdims=True), [1, 0, 2])  # 1, but with dropout
        context = tf.transpose(seen + total * biases[2], [1, 0, 2])
        context = tf.reshape(context, [_shape(context)[0], self.config.hidden_size])
        return self._after_attention(last, first, context, dropout)

    def _embed(self, layout: Layout, dropout: Dropout | None) -> Tensor:
        ids, positions, segments = (tf.reshape(x, [-1]) for x in (layout.ids, layout.positions, layout.segments))
        # Looked up in float32: a cast of the table would touch all its rows, and make its gradient dense.
        word = tf.gather(self.paths["encoder/embeddings/word_embeddings"], ids)
        rest = self._places(positions, segments, dropout is not None)
        states = tf.cast(self._norm("embeddings/layer_norm", word + rest, dropout), self._type)
        states = self._drop(states, self.config.dropout, dropout, 0)
        if self.config.embedding_size != self.config.hidden_size:
            states = self._dense("embeddings_project", states)
        return states

    def _places(self, positions: Tensor, segments: Tensor, training: bool) -> Tensor:
        """The embeddings of positions and segments, float32 [T, D]."""
        of_positions = self.paths["encoder/embeddings/position_embeddings"]
        of_segments = self.paths["encoder/embeddings/token_type_embeddings"]
        if training:
            # Two segments or so: a product is as fast as a look-up, and its gradient is dense and small.
            chosen = tf.one_hot(segments, self.config.type_vocab_size)
            return tf.gather(of_positions, positions) + tf.matmul(chosen, of_segments)
        sums = of_segments[:, None] + of_positions[None]
        return tf.gather(tf.reshape(sums, [-1, sums.shape[-1]]), segments * sums.shape[1] + positions)

    def _after_attention(self, n: int, states: Tensor, context: Tensor, dropout: Dropout | None) -> Tensor:
        """The rest of layer `n`, of each token by itself: [T, D]."""
        path, rate, key = f"layer_{n}", self.config.dropout, 3 * n + 1
        attended = self._drop(self._dense(f"{path}/attention/output", context), rate, dropout, key + 1)
        hidden = self._norm(f"{path}/attention/layer_norm", states + attended, dropout)
        inner = self._activated(self._dense(f"{path}/intermediate", hidden), dropout is not None)
        output = self._drop(self._dense(f"{path}/output", inner), rate, dropout, key + 2)
        return self._norm(f"{path}/layer_norm", hidden + output, dropout)

    def _attend(self, heads: list[Tensor], bias: Tensor, dropout: Dropout | None) -> Tensor:
        """Scaled dot-product attention of queries [n, H, Q, D/H] to keys and values [n, H, L, D/H]."""
        query, keys, values = heads
        logits = tf.matmul(query * query.shape[-1] ** -0.5, keys, transpose_b=True)
        return tf.matmul(self._shares(logits, bias, dropout), values)

    def _shares(self, logits: Tensor, bias: Tensor, dropout: Dropout | None) -> Tensor:
        shares = _arithmetic.softmax(logits, bias, dropout is not None)
        return shares if dropout is None else dropout.apply(shares, self.config.attention_dropout)

    def _by_head(self, path: str) -> tuple[list[Tensor], list[Tensor]]:
        """What maps states to queries, keys and values: kernels [H, D, D/H] and biases [H, 1, D/H]."""
        kernel = tf.reshape(self._weight(f"{path}/kernel"), [self.config.hidden_size, 3, *self._head_shape])
        bias = tf.reshape(self._weight(f"{path}/bias"), [3, *self._head_shape])
        return tf.unstack(tf.transpose(kernel, [1, 2, 0, 3])), tf.unstack(bias[:, :, None])

    @property
    def _head_shape(self) -> tuple[int, int]:
        return self.config.heads, self.config.hidden_size // self.config.heads

    def _dense(self, path: str, x: Tensor) -> Tensor:
        return _arithmetic.affine(x, self._weight(f"{path}/kernel"), self._weight(f"{path}/bias"))

    def _norm(self, path: str, x: Tensor, dropout: Dropout | None) -> Tensor:
        gamma, beta = (self.paths[f"encoder/{path}/{part}"] for part in ("gamma", "beta"))
        return _arithmetic.norm(x, gamma, beta, self.config.layer_norm_eps, dropout is not None)

    def _activated(self, x: Tensor, training: bool) -> Tensor:
        kind = self.config.hidden_act
        return _arithmetic.gelu(x) if training and kind == "gelu" else _ACTIVATIONS[kind](x)

    def _drop(self, x: Tensor, rate: float, dropout: Dropout | None, key: int) -> Tensor:
        return x if dropout is None or rate == 0 else dropout.fold(key).apply(x, rate)

    def _weight(self, path: str) -> Tensor:
        path = f"encoder/{path}"
        return tf.constant(self._constants[path]) if self._constants else tf.cast(self.paths[path], self._type)


def _part(dropout: Dropout | None, *path: int) -> Dropout | None:
    for n in path:
        dropout = dropout and dropout.fold(n)
    return dropout


def _shape(x: Tensor) -> list[Any]:
    """The shape of `x`, static where it is known."""
    dynamic = tf.shape(x)
    return [dynamic[i] if size is None else size for i, size in enumerate(x.shape)]
