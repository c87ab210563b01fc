"""Transformer layers over any vectors: the options of a layer, and stacks of layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from rankcli.backend import tf
from rankcli.encoders import _arithmetic, layouts
from rankcli.encoders.attention import Attention, Bias, shares
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.recompute import recomputed
from rankcli.encoders.weights import Weight, dense, norm

Tensor: TypeAlias = Any

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": lambda x: tf.nn.gelu(x, approximate=False),
    "gelu_new": lambda x: tf.nn.gelu(x, approximate=True),
    "relu": lambda x: tf.nn.relu(x),
    "silu": lambda x: tf.nn.silu(x),
}


class Positions:
    """Positions in attention (rotary, relative, ...). These methods change nothing; subclasses override them."""

    def turned(self, parts: Tensor, positions: Tensor) -> Tensor:
        """Return queries, keys and values of tokens, [T, 3, H, D/H], rotated by their positions [T]."""
        return parts

    def bias(self, parameters: Parameters, path: str, dropout: Dropout | None) -> Bias | None:
        """Return the logits to add in the layer at `path`, if any. `dropout` is given in training only."""
        return None


@dataclass(frozen=True, kw_only=True)
class Block:
    """A transformer layer: attention and a feed-forward net, each with a residual connection and a normalisation.

    `place` is the place of norms: after each sum (`post`, Vaswani et al. 2017) or before each part (`pre`). A `gated`
    net multiplies the activated first half of its inner values by the second half. `positions` is None where attention
    does not use them (they are in the vectors, or not used at all). With `window`, a token attends to those at most so
    many places away, otherwise to its whole sequence. `epsilon` is that of the norms.
    """

    norm: Literal["layer", "rms"] = "layer"
    place: Literal["post", "pre"] = "post"
    biases: bool = True
    activation: str = "gelu"
    gated: bool = False
    positions: Positions | None = None
    window: int | None = None
    scale: float | None = None
    epsilon: float = 1e-12
    dropout: float = 0.0
    attended_dropout: float | None = None
    inner_dropout: float = 0.0
    attention_dropout: float = 0.0


def layer_weights(
    block: Block,
    path: str,
    width: int,
    inner: int,
    stored: Mapping[str, tuple[str, ...]] | None = None,
    attended: int = 0,
) -> list[Weight]:
    """Return the weights of a layer at `path` over vectors of size `width`, with a feed-forward net of size `inner`.

    `stored` has the stored names of each part (`attention/qkv`, ...); by default they are its path with dots.
    `attended` is the size of the queries of all heads together, by default `width`.
    """
    attended = attended or width

    def names(part: str) -> tuple[str, ...]:
        return stored[part] if stored else (f"{path}.{part}".replace("/", "."),)

    def flat(part: str, inputs: int, outputs: int) -> list[Weight]:
        return dense(f"{path}/{part}", names(part), inputs, outputs // len(names(part)), block.biases)

    def normed(part: str) -> list[Weight]:
        return norm(f"{path}/{part}", names(part)[0], width, block.biases and block.norm == "layer")

    return [
        *flat("attention/qkv", width, 3 * attended),
        *flat("attention/output", attended, width),
        *normed("attention/layer_norm"),
        *flat("intermediate", width, inner * (2 if block.gated else 1)),
        *flat("output", inner, width),
        *normed("layer_norm"),
    ]


class Stack:
    """Layers in order, with the parameters at their paths. Layers that are never trained have no dropout.

    A dense layer adds a bias, and a norm an offset, if the variable exists. A norm without factors is skipped.
    """

    def __init__(self, parameters: Parameters, layers: Sequence[tuple[str, Block]]) -> None:
        self._parameters, self._layers = parameters, list(layers)
        self._frozen = {path for path, _ in layers if parameters.is_frozen(path)}

    def __call__(
        self, states: Tensor, attention: Attention, dropout: Dropout | None = None, keep: Sequence[int] = (-1,)
    ) -> list[Tensor]:
        """Return the vectors [T, D] after the layers numbered in `keep`: 0 for `states` themselves, -1 for the last
        layer.
        """
        depths = range(len(self._layers) + 1)
        wanted = [depths[number] for number in keep]
        kept = {0: states}
        for n in range(max(wanted, default=0)):
            states = self._kept_or_not(n, states, attention, dropout)
            if n + 1 in wanted:
                kept[n + 1] = states
        return [kept[depth] for depth in wanted]

    def first(self, states: Tensor, attention: Attention, dropout: Dropout | None = None) -> Tensor:
        """Return the last vector of each sequence's first token, [N, D]. Where possible, the last layer computes only
        these.
        """
        last = len(self._layers) - 1
        drops = dropout is not None and self._parameters.drops
        if last < 0 or drops or attention.layout.shared or not self._is_plain(last):
            return layouts.first_tokens(self(states, attention, dropout)[0], attention.layout)
        (states,) = self(states, attention, dropout, [last])
        return self._first(last, states, attention, dropout)

    def _is_plain(self, n: int) -> bool:
        path, block = self._layers[n]
        apart = block.place == "post" and block.positions is None and block.window is None
        return apart and block.scale is None and f"{path}/attention/qkv/bias" in self._parameters

    def _kept_or_not(self, n: int, states: Tensor, attention: Attention, dropout: Dropout | None) -> Tensor:
        """Compute a layer; with `recompute`, keep only its input in training. Dropout is a function of its key, so that
        both passes drop the same values.
        """
        if dropout is None or not self._parameters.recompute:
            return self._layer(n, states, attention, dropout)
        computed = recomputed(lambda x: self._layer(n, x, attention, dropout), states)
        # its gradient must be dense, as that of a reshaping is, also where some rows are looked up
        return tf.reshape(computed, [-1, states.shape[-1]])

    def _layer(self, n: int, states: Tensor, attention: Attention, dropout: Dropout | None) -> Tensor:
        path, block = self._layers[n]
        dropout = None if path in self._frozen else dropout
        pre, training = block.place == "pre", dropout is not None
        read = self._read(block, f"{path}/attention/layer_norm", states, training) if pre else states
        parts = self._parameters.dense(f"{path}/attention/qkv", read, dropout)
        bias = None
        if block.positions is not None:
            parts = attention.turned(parts, block.positions.turned)
            bias = block.positions.bias(self._parameters, path, None if dropout is None else dropout.fold(-n - 1))
        key = None if dropout is None else dropout.fold(3 * n + 1)
        rate, scale = block.attention_dropout, block.scale
        context = attention(parts, key, rate, window=block.window, bias=bias, scale=scale)
        return self._after_attention(n, states, context, dropout)

    def _after_attention(self, n: int, states: Tensor, context: Tensor, dropout: Dropout | None) -> Tensor:
        """Compute the part of layer `n` after attention, which treats each token by itself: [T, D]."""
        path, block = self._layers[n]
        pre, training, key = block.place == "pre", dropout is not None, 3 * n + 1
        rate = block.dropout if block.attended_dropout is None else block.attended_dropout
        attended = self._parameters.dense(f"{path}/attention/output", context, dropout)
        attended = _drop(attended, rate, dropout, key + 1)
        hidden = states + tf.cast(attended, states.dtype)
        if not pre:
            hidden = self._norm(block, f"{path}/attention/layer_norm", hidden, training)
        read = self._read(block, f"{path}/layer_norm", hidden, training) if pre else hidden
        inner = self._activated(block, self._parameters.dense(f"{path}/intermediate", read, dropout), training)
        inner = _drop(inner, block.inner_dropout, dropout, key + 2, 0)
        output = _drop(self._parameters.dense(f"{path}/output", inner, dropout), block.dropout, dropout, key + 2)
        output = hidden + tf.cast(output, hidden.dtype)
        return output if pre else self._norm(block, f"{path}/layer_norm", output, training)

    def _first(self, n: int, states: Tensor, attention: Attention, dropout: Dropout | None) -> Tensor:
        """Compute layer `n` with queries and a feed-forward net for first tokens only.

        It does not compute keys and values of all tokens either. As q (W x) is (q W) x, and a sum of W x is W times the
        sum, each head maps its one query, and the one state that it sums up, instead. The bias of keys adds the same
        number to all logits, so softmax is not changed by it.
        """
        path, block = self._layers[n]
        dropout = None if path in self._frozen else dropout
        first = layouts.first_tokens(states, attention.layout)
        kernels, biases = self._by_head(f"{path}/attention/qkv", attention.heads)
        query = tf.matmul(first[None], kernels[0]) + biases[0]
        wanted = tf.matmul(query * query.shape[-1] ** -0.5, kernels[1], transpose_b=True)
        rows = layouts.by_sequence(states, attention.layout)
        logits = tf.matmul(tf.transpose(wanted, [1, 0, 2]), rows, transpose_b=True)
        key = None if dropout is None else dropout.fold(3 * n + 1).fold(0)
        weights = shares(logits, layouts.attention_bias(attention.layout), key, block.attention_dropout)
        seen = tf.matmul(tf.transpose(tf.matmul(weights, rows), [1, 0, 2]), kernels[2])
        total = tf.transpose(tf.reduce_sum(weights, axis=2, keepdims=True), [1, 0, 2])  # always 1, except with dropout
        context = tf.transpose(seen + total * biases[2], [1, 0, 2])
        context = tf.reshape(context, [layouts.size(context, 0), states.shape[-1]])
        return self._after_attention(n, first, context, dropout)

    def _by_head(self, path: str, heads: int) -> tuple[list[Tensor], list[Tensor]]:
        """Return the maps from states to queries, keys and values: kernels [H, D, D/H] and biases [H, 1, D/H]."""
        kernel = self._parameters[f"{path}/kernel"]
        width = kernel.shape[0]
        kernel = tf.reshape(kernel, [width, 3, heads, width // heads])
        bias = tf.reshape(self._parameters[f"{path}/bias"], [3, heads, width // heads])
        return tf.unstack(tf.transpose(kernel, [1, 2, 0, 3])), tf.unstack(bias[:, :, None])

    def _read(self, block: Block, path: str, x: Tensor, training: bool) -> Tensor:
        """Return the normalised input of a part of a pre-norm layer, in the dtype of the computation."""
        return tf.cast(self._norm(block, path, x, training), self._parameters.dtype)

    def _norm(self, block: Block, path: str, x: Tensor, training: bool) -> Tensor:
        return normed(self._parameters, path, x, block.epsilon, training, block.norm)

    def _activated(self, block: Block, x: Tensor, training: bool) -> Tensor:
        first, *gates = tf.split(x, 2, axis=-1) if block.gated else [x]
        gelu = training and block.activation == "gelu"
        activated = _arithmetic.gelu(first) if gelu else ACTIVATIONS[block.activation](first)
        return activated * gates[0] if gates else activated


def normed(parameters: Parameters, path: str, x: Tensor, epsilon: float, training: bool, kind: str = "layer") -> Tensor:
    """Apply the normalisation at a path to tokens [T, D]; return `x` itself if it has no weights."""
    gamma, beta = f"{path}/gamma", f"{path}/beta"
    if gamma not in parameters:
        return x
    if kind == "rms":
        return _arithmetic.rms_norm(x, parameters.exact(gamma), epsilon)
    offset = parameters.exact(beta) if beta in parameters else None
    return _arithmetic.norm(x, parameters.exact(gamma), offset, epsilon, training)


def _drop(x: Tensor, rate: float, dropout: Dropout | None, *key: int) -> Tensor:
    if dropout is None or rate == 0:
        return x
    for number in key:
        dropout = dropout.fold(number)
    return dropout.apply(x, rate)
