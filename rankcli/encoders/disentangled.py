"""Disentangled attention (He et al. 2021): words and relative positions have queries and keys of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankcli.backend import tf
from rankcli.encoders.attention import Bias
from rankcli.encoders.base import Tensor
from rankcli.encoders.distances import by_place, distances
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.layers import Positions, normed
from rankcli.encoders.layouts import size
from rankcli.encoders.parameters import Parameters

QUERY_KERNEL, KEY_KERNEL = "p2c", "c2p"  # the terms that need queries of positions, and keys of positions


def rows_of(distance: np.ndarray, buckets: int, farthest: int) -> np.ndarray:
    """Return the rows of the table of relative positions for distances of queries from their keys.

    Distances of more than half of `buckets` share rows, up to `farthest`. With 0 `buckets` every distance has its own.
    """
    half, reach, found = buckets // 2, buckets or farthest, distance.astype(np.float64)
    if buckets:
        apart = np.maximum(np.abs(found), 1)
        shared = half + np.ceil(np.log(apart / half) / np.log((farthest - 1) / half) * (half - 1))
        found = np.where(apart <= half, found, np.sign(found) * shared)
    return np.clip(found + reach, 0, 2 * reach - 1).astype(np.int32)


@dataclass(frozen=True, kw_only=True)
class Disentangled(Positions):
    """Logits of queries and the positions of keys (`c2p`), and of keys and the positions of queries (`p2c`).

    `rows` are those of the distances from -D to D, of which longer ones do not occur. With `shared`, positions have the
    kernels of the layer's queries and keys. `scale` is the factor of the logits.
    """

    terms: tuple[str, ...]
    rows: tuple[int, ...]
    heads: int
    scale: float
    shared: bool
    dropout: float
    epsilon: float

    def bias(self, parameters: Parameters, path: str, dropout: Dropout | None) -> Bias | None:
        """Return the terms of the layer at `path`."""
        table = parameters.exact("positions/table")
        table = normed(parameters, "positions/norm", table, self.epsilon, dropout is not None)
        table = tf.cast(table, parameters.dtype)
        if dropout is not None:
            table = dropout.apply(table, self.dropout)
        kernels = f"{path}/attention/{'qkv' if self.shared else 'positions'}"
        projected = parameters.dense(kernels, table, dropout)
        width = table.shape[-1]
        terms = [term for term in (QUERY_KERNEL, KEY_KERNEL) if self.shared or term in self.terms]
        parts = {term: projected[:, n * width : (n + 1) * width] for n, term in enumerate(terms)}
        return Bias(self._logits, tuple(self._by_head(parts[term]) for term in self.terms))

    def _by_head(self, x: Tensor) -> Tensor:
        """Turn scaled rows [2R, D] into [H, 2R, D/H]."""
        by_head = tf.reshape(x * self.scale, [x.shape[0], self.heads, x.shape[1] // self.heads])
        return tf.transpose(by_head, [1, 0, 2])

    def _logits(self, query: Tensor, keys: Tensor, at: Tensor, key_at: Tensor, *tables: Tensor) -> Tensor:
        compute = {KEY_KERNEL: self._of_queries, QUERY_KERNEL: self._of_keys}
        first = key_at[0] - at[0]
        found = [compute[term](query, keys, first, x) for term, x in zip(self.terms, tables, strict=True)]
        return sum(tf.cast(term, tf.float32) for term in found)

    def _of_queries(self, query: Tensor, keys: Tensor, first: Tensor, table: Tensor) -> Tensor:
        """Return the products of queries with the keys of positions, [n, H, Q, K]."""
        count = size(keys, 2)
        rows = self._looked_up(table, -distances(size(query, 2), count, first))
        return by_place(tf.matmul(query, rows, transpose_b=True), count)

    def _of_keys(self, query: Tensor, keys: Tensor, first: Tensor, table: Tensor) -> Tensor:
        """Return the products of keys with the queries of positions, [n, H, Q, K].

        Keys are taken in groups as large as the number of queries: with all keys at once, products for a block of
        queries would grow with the square of the length.
        """
        rows, heads, count, width = (size(keys, axis) for axis in range(4))
        asked = size(query, 2)
        groups = -(-count // asked)
        padded = tf.pad(keys, [[0, 0], [0, 0], [0, groups * asked - count], [0, 0]])
        grouped = tf.reshape(padded, [rows, heads, groups, asked, width])
        apart = distances(asked, asked) - first - tf.range(groups)[:, None] * asked
        products = tf.matmul(grouped, self._looked_up(table, apart), transpose_b=True)
        by_key = tf.transpose(by_place(products, asked), [0, 1, 4, 2, 3])
        return tf.reshape(by_key, [rows, heads, asked, groups * asked])[..., :count]

    def _looked_up(self, table: Tensor, distance: Tensor) -> Tensor:
        """Return the rows [H, ..., D/H] of distances of queries from their keys."""
        most = len(self.rows) // 2
        places = tf.clip_by_value(distance, -most, most) + most
        return tf.gather(table, tf.gather(tf.constant(self.rows, tf.int32), places), axis=1)
