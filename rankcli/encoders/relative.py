"""Relative positions as in T5 (Raffel et al. 2020): a number for each head and each bucket of distances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankcli.backend import tf
from rankcli.encoders.attention import Bias
from rankcli.encoders.base import Tensor
from rankcli.encoders.distances import distances, repeated_by_place
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.layers import Positions
from rankcli.encoders.layouts import size
from rankcli.encoders.parameters import Parameters


def buckets_of(distance: np.ndarray, buckets: int, farthest: int) -> np.ndarray:
    """Return the buckets of distances, of a key from its query.

    Each half of the buckets is for one direction, and half of those for one distance each. The others grow with the
    distance; the last one begins before `farthest`, and has no end.
    """
    half, exact = buckets // 2, buckets // 4
    apart = np.abs(distance)
    grown = np.log(np.maximum(apart, exact) / exact) / np.log(farthest / exact) * (half - exact)
    shared = np.minimum(exact + grown.astype(np.int32), half - 1)
    found: np.ndarray = np.where(apart < exact, apart, shared) + half * (distance > 0)
    return found.astype(np.int32)


@dataclass(frozen=True)
class RelativeBias(Positions):
    """Logits from the table [buckets, H] at `positions/table`, which all layers share."""

    buckets: int
    farthest: int

    def bias(self, parameters: Parameters, path: str, dropout: Dropout | None) -> Bias | None:
        """Return the logits, which are the same in every layer."""
        return Bias(self._logits, (tf.convert_to_tensor(parameters.exact("positions/table")),))

    def _logits(self, query: Tensor, keys: Tensor, at: Tensor, key_at: Tensor, table: Tensor) -> Tensor:
        rows, columns, most = size(query, 2), size(keys, 2), self.farthest
        apart = tf.clip_by_value(distances(rows, columns, key_at[0] - at[0]), -most, most)
        buckets = tf.constant(buckets_of(np.arange(-most, most + 1), self.buckets, most))
        # a product, because its gradient is dense and small
        chosen = tf.one_hot(tf.gather(buckets, apart + most), self.buckets)
        by_distance = tf.matmul(table, chosen, transpose_a=True, transpose_b=True)
        return repeated_by_place(by_distance, rows, columns)[None]
