"""Scaled dot-product attention among the tokens of each sequence (Vaswani et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from rankcli.backend import on_tpu, tf
from rankcli.encoders import _arithmetic, layouts
from rankcli.encoders.blocks import BLOCK, QueryBlock, by_blocks
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.fused import attended
from rankcli.encoders.sharing import Sharing
from rankcli.shapes import Layout

Tensor: TypeAlias = Any

# tokens; longer sequences attend in blocks of queries, so that memory grows with the length and not with its square
WHOLE = 512


class Bias(NamedTuple):
    """Logits for relative positions, added to those of queries and keys.

    `logits(query, keys, query_places, key_places, *tables)` returns float32 [1 or n, H, Q, K] for queries [n, H, Q,
    D/H] at places [Q] and keys [n, H, K, D/H] at places [K]. Within a sequence, differences of places are differences
    of positions. Every tensor besides queries and keys that needs a gradient must be passed in `tables`.
    """

    logits: Callable[..., Tensor]
    tables: tuple[Tensor, ...] = ()


class Attention:
    """Attention of each token to its sequence, for vectors laid out as in `layout`.

    `longest` is the maximal length of a sequence. Up to `WHOLE` tokens, no length is checked at run time. With
    `layout.shared`, tokens attend to those that other sequences share as well; then there are no blocks, and neither
    windows nor biases.
    """

    def __init__(self, layout: Layout, heads: int, longest: int = WHOLE) -> None:
        self.layout, self.heads, self._longest = layout, heads, longest
        self._pieces = layouts.Pieces(layout, heads)
        self._masks: dict[int, Tensor] = {}
        self._sharing = Sharing(layout, self._pieces.owners) if layout.shared else None

    def turned(self, parts: Tensor, turn: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Apply `turn(parts [T, 3, H, D/H], positions [T])` to queries, keys and values [T, 3 D]."""
        by_head = tf.reshape(parts, [-1, 3, self.heads, parts.shape[-1] // (3 * self.heads)])
        return tf.reshape(turn(by_head, tf.reshape(self.layout.positions, [-1])), [-1, parts.shape[-1]])

    def __call__(
        self,
        parts: Tensor,
        dropout: Dropout | None = None,
        rate: float = 0.0,
        *,
        window: int | None = None,
        bias: Bias | None = None,
        scale: float | None = None,
    ) -> Tensor:
        """Return the attention output of each token, [T, D]. `parts` [T, 3 D] are queries, keys and values.

        `dropout` sets attention weights to 0 at `rate`. With `window`, a token attends to those at most so many places
        away. `scale` is the factor of the products of queries and keys, by default (D/H)^-0.5.
        """
        contexts = [
            self._attend(c, heads, _Rules(None if dropout is None else dropout.fold(c), rate, window, bias, scale))
            for c, heads in enumerate(self._heads(parts))
        ]
        return self._pieces.together(contexts)

    def _heads(self, parts: Tensor) -> list[list[Tensor]]:
        """Return queries, keys and values of each chunk; keys and values of shared tokens come after the rows' own."""
        apart = self._pieces.apart(parts)
        if self._sharing is None:
            return apart
        more = self._sharing.heads(parts, self.heads)
        return [
            [query, *(tf.concat(pair, axis=2) for pair in zip(own, others, strict=True))]
            for (query, *own), others in zip(apart, more, strict=True)
        ]

    def _attend(self, chunk: int, heads: list[Tensor], rules: _Rules) -> Tensor:
        length = layouts.size(self._pieces.owners[chunk], 1)
        known = tf.get_static_value(length)
        if self._longest <= WHOLE or self._sharing or (known is not None and known <= WHOLE):
            if chunk not in self._masks:
                self._masks[chunk] = self._whole_mask(chunk)
            return rules.attend(heads, self._masks[chunk])
        if known is not None:
            return self._in_blocks(chunk, heads, rules)
        return tf.cond(
            length <= WHOLE,
            lambda: rules.attend(heads, self._whole_mask(chunk)),
            lambda: self._in_blocks(chunk, heads, rules),
        )

    def _in_blocks(self, chunk: int, heads: list[Tensor], rules: _Rules) -> Tensor:
        owner, keys = self._pieces.owners[chunk], self._pieces.asked[chunk]
        askers = tf.pad(owner, [[0, 0], [0, BLOCK]], constant_values=-1)

        def attend(block: QueryBlock) -> Tensor:
            asking = tf.slice(askers, [0, block.query_start], [layouts.size(owner, 0), BLOCK])
            asked = tf.slice(keys, [0, block.key_start], [layouts.size(owner, 0), layouts.size(block.keys, 2)])
            own = rules.in_block(block)
            heads = [block.query, block.keys, block.values]
            return own.attend(heads, self._mask(asked, asking), block.query_start, block.key_start)

        return by_blocks(attend, heads, rules.bias.tables if rules.bias else (), rules.window)

    def _whole_mask(self, chunk: int) -> Tensor:
        mask = self._mask(self._pieces.asked[chunk], self._pieces.owners[chunk])
        return mask if self._sharing is None else tf.concat([mask, self._sharing.masks[chunk]], axis=3)

    def _mask(self, asked: Tensor, asking: Tensor) -> Tensor:
        """Return the mask of keys [n, K] for queries [n, Q]: [n, 1, Q, K]; in chunks, Q is 1."""
        if self.layout.chunks:
            return layouts.bias_of((asked >= 0)[:, None, :])
        return layouts.bias_of(asking[:, :, None] == asked[:, None, :])


class _Rules(NamedTuple):
    dropout: Dropout | None
    rate: float
    window: int | None
    bias: Bias | None
    scale: float | None

    def attend(self, heads: list[Tensor], mask: Tensor, query_start: Any = 0, key_start: Any = 0) -> Tensor:
        """Compute attention of queries [n, H, Q, D/H] to keys and values [n, H, K, D/H]."""
        query, keys, values = heads
        scale = query.shape[-1] ** -0.5 if self.scale is None else self.scale
        if self.window is not None or self.bias is not None:
            places = [
                start + tf.range(layouts.size(part, 2)) for start, part in ((query_start, query), (key_start, keys))
            ]
            mask = self._by_place(mask, query, keys, places)
        if on_tpu():
            return attended(query * scale, keys, values, mask, self._drop)
        logits = tf.matmul(query * scale, keys, transpose_b=True)
        return tf.matmul(shares(logits, mask, self.dropout, self.rate), values)

    def _drop(self, x: Tensor) -> Tensor:
        return x if self.dropout is None else self.dropout.apply(x, self.rate)

    def _by_place(self, mask: Tensor, query: Tensor, keys: Tensor, places: list[Tensor]) -> Tensor:
        if self.window is not None:
            apart = tf.abs(places[0][:, None] - places[1])
            mask += layouts.bias_of((apart <= self.window)[None])
        if self.bias is not None:
            mask += self.bias.logits(query, keys, *places, *self.bias.tables)
        return mask

    def in_block(self, block: QueryBlock) -> _Rules:
        """Return the rules for one block of queries."""
        dropout = None if self.dropout is None else self.dropout.fold(block.number)
        return self._replace(dropout=dropout, bias=self.bias and self.bias._replace(tables=block.tables))


def shares(logits: Tensor, mask: Tensor, dropout: Dropout | None, rate: float) -> Tensor:
    """Return the softmax of logits and mask, in the dtype of `logits`, with dropout at `rate` in training."""
    found = _arithmetic.softmax(logits, mask, dropout is not None)
    return found if dropout is None else dropout.apply(found, rate)
