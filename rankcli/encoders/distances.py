"""Attention logits that depend on the distance of query and key, without a look-up for every pair.

What belongs to a distance is found once for all distances, and then put where it belongs by padding and slicing alone.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from rankcli.backend import tf
from rankcli.encoders.layouts import size

Tensor: TypeAlias = Any


def distances(rows: Any, columns: Any, first: Any = 0) -> Tensor:
    """Return column minus row, in the order that `by_place` wants it, of `rows` places and `columns` places.

    `first` is the first column's place minus the first row's.
    """
    return first + tf.range(rows + columns - 1) - (rows - 1)


def by_place(x: Tensor, columns: Any) -> Tensor:
    """Turn values by distance, [..., R, R + C - 1], into values by column, [..., R, C].

    In row i, the value of column j is that with the number j - i + R - 1.
    """
    *outer, rows, width = (size(x, axis) for axis in range(x.shape.rank))
    padded = tf.pad(x, [[0, 0]] * (x.shape.rank - 1) + [[0, 1]])
    flat = tf.reshape(padded, [*outer, rows * (width + 1)])[..., rows - 1 : rows - 1 + rows * width]
    return tf.reshape(flat, [*outer, rows, width])[..., :columns]


def repeated_by_place(x: Tensor, rows: Any, columns: Any) -> Tensor:
    """Do what `by_place` does with values that are the same for all rows, [H, R + C - 1] to [H, R, C]."""
    width = size(x, 1)
    flat = tf.tile(tf.pad(x, [[0, 0], [0, 1]]), [1, rows])[:, rows - 1 : rows - 1 + rows * width]
    return tf.reshape(flat, [size(x, 0), rows, width])[..., :columns]
