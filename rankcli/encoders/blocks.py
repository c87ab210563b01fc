"""Attention in blocks of queries.

Memory is needed for one block at a time. In training, the backward pass computes each block again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from rankcli.backend import tf
from rankcli.encoders.layouts import size

Tensor: TypeAlias = Any

BLOCK = 64  # queries; with 12 heads and 8,192 keys, a block has 25 MB of logits


class QueryBlock(NamedTuple):
    """Queries [n, H, BLOCK, h] from place `query_start` on, and their keys and values from `key_start` on."""

    number: Tensor
    query: Tensor
    keys: Tensor
    values: Tensor
    query_start: Tensor
    key_start: Tensor
    tables: tuple[Tensor, ...]


def by_blocks(
    attend: Callable[[QueryBlock], Tensor], heads: Sequence[Tensor], tables: Sequence[Tensor], window: int | None
) -> Tensor:
    """Return the results of `attend` for all queries [n, H, L, h], block by block, for L above the size of a block.

    With a window, a block has only the keys within that distance of its queries. Gradients reach queries, keys, values
    and `tables`.
    """

    @tf.custom_gradient
    def compute(query: Tensor, keys: Tensor, values: Tensor, *tables: Tensor) -> Any:
        blocks = _Blocks(query, keys, values, tables, window)
        return blocks.found(attend), lambda gradient: blocks.gradients(attend, gradient)

    return compute(*heads, *tables)


class _Blocks:
    def __init__(
        self, query: Tensor, keys: Tensor, values: Tensor, tables: tuple[Tensor, ...], window: int | None
    ) -> None:
        self._queries, self._keys, self._values, self._tables = _padded(query), keys, values, tables
        self._window = window
        self._length = size(keys, 2)
        self._span = self._length if window is None else _least(self._length, BLOCK + 2 * window)
        self._count = -(-self._length // BLOCK)

    def found(self, attend: Callable[[QueryBlock], Tensor]) -> Tensor:
        """Return the results, [n, H, L, h]."""
        parts = tf.map_fn(
            lambda n: attend(self._block(n)),
            tf.range(self._count),
            fn_output_signature=self._keys.dtype,
            parallel_iterations=1,
        )
        return self._joined(parts)

    def gradients(self, attend: Callable[[QueryBlock], Tensor], gradient: Tensor) -> list[Tensor]:
        """Return the gradients of queries, keys, values and tables, from the gradient of the results."""
        given = _padded(gradient)
        summed = (self._keys, self._values, *self._tables)

        def step(n: Tensor, of_queries: Any, *sums: Tensor) -> tuple[Any, ...]:
            block = self._block(n)
            inputs = [block.query, block.keys, block.values, *block.tables]
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                found = attend(block)
            upper = _cut(given, block.query_start, BLOCK)
            own, *others = tape.gradient(found, inputs, upper, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            others = [tf.cast(other, tf.float32) for other in others]
            others = [self._placed(other, block.key_start) for other in others[:2]] + others[2:]
            return n + 1, of_queries.write(n, own), *(a + b for a, b in zip(sums, others, strict=True))

        _, queries, *sums = tf.while_loop(
            lambda n, *_: n < self._count,
            step,
            (0, tf.TensorArray(gradient.dtype, self._count), *(tf.zeros(tf.shape(x), tf.float32) for x in summed)),
            parallel_iterations=1,
        )
        return [self._joined(queries.stack()), *(tf.cast(a, x.dtype) for a, x in zip(sums, summed, strict=True))]

    def _block(self, n: Tensor) -> QueryBlock:
        start = n * BLOCK
        if self._window is None:
            return QueryBlock(n, _cut(self._queries, start, BLOCK), self._keys, self._values, start, 0, self._tables)
        first = tf.clip_by_value(start - self._window, 0, self._length - self._span)
        keys, values = (_cut(x, first, self._span) for x in (self._keys, self._values))
        return QueryBlock(n, _cut(self._queries, start, BLOCK), keys, values, start, first, self._tables)

    def _placed(self, x: Tensor, first: Tensor) -> Tensor:
        """Place the gradients of a block's keys among zeros for all other keys."""
        if self._window is None:
            return x
        places = tf.range(self._length) - first
        inside = (places >= 0) & (places < self._span)
        return tf.where(inside[:, None], tf.gather(x, tf.clip_by_value(places, 0, self._span - 1), axis=2), 0.0)

    def _joined(self, parts: Tensor) -> Tensor:
        """Join blocks [count, n, H, BLOCK, h] to [n, H, L, h]."""
        count, rows, heads, block, width = (size(parts, axis) for axis in range(5))
        joined = tf.reshape(tf.transpose(parts, [1, 2, 0, 3, 4]), [rows, heads, count * block, width])
        return joined[:, :, : self._length]


def _padded(x: Tensor) -> Tensor:
    return tf.pad(x, [[0, 0], [0, 0], [0, BLOCK], [0, 0]])


def _cut(x: Tensor, start: Tensor, length: Any) -> Tensor:
    return tf.slice(x, [0, 0, start, 0], [size(x, 0), size(x, 1), length, size(x, 3)])


def _least(one: Any, other: int) -> Any:
    return min(one, other) if isinstance(one, int) else tf.minimum(one, other)
