"""What the encoder knows of a `Layout`: where its tokens lie, and which of them attend to one another.

Within the encoder the states of all tokens are one list [T, D], whatever the layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rankcli.backend import tf
from rankcli.shapes import Layout

BLOCKED = -1e9  # added to attention logits of other sequences and of padding; finite, so that no row has none


class Attention:
    """The tokens in rows [n, L] of which each attends to the tokens of its own sequence in its row."""

    def __init__(self, layout: Layout) -> None:
        self._chunks = layout.chunks
        if not self._chunks:
            owner = layout.sequence
            self._shape = [-1 if owner.shape[0] is None else owner.shape[0], _size(owner, 1)]
            self.biases = [_bias(owner[:, :, None] == owner[:, None, :])]
            return
        self._there, self._back, shapes = self._chunks
        self._shapes = [(shape[0], shape[1]) for shape in shapes]
        self._sizes = tf.stack([*(rows * length for rows, length in self._shapes), 1])
        tokens = self._cut(tf.gather(layout.sequence, self._there)[:, None] >= 0)
        self.biases = [_bias(rows[:, None, :, 0]) for rows in tokens]

    def apart(self, x: Any) -> list[Any]:
        """Tokens [T, W] to rows [n, L, W], which have the shapes of `biases`."""
        if not self._chunks:
            return [tf.reshape(x, [*self._shape, x.shape[-1]])]
        return self._cut(moved(x, self._there, self._back))

    def together(self, rows: Sequence[Any]) -> Any:
        """The way back."""
        width = rows[0].shape[-1]
        flat = [tf.reshape(piece, [-1, width]) for piece in rows]
        if not self._chunks:
            return flat[0]
        return moved(tf.concat([*flat, tf.zeros([1, width], flat[0].dtype)], 0), self._back, self._there)

    def _cut(self, x: Any) -> list[Any]:
        *pieces, _ = tf.split(x, self._sizes, num=len(self._shapes) + 1)
        return [tf.reshape(piece, [*shape, x.shape[-1]]) for piece, shape in zip(pieces, self._shapes, strict=True)]


def token_mask(layout: Layout) -> Any:
    """Which of the M places of each sequence hold a token: bool [N, M]."""
    return layout.places >= 0


def by_sequence(x: Any, layout: Layout) -> Any:
    """Tokens [T, W] to sequences [N, M, W]; what lies behind the end of a sequence is of some token."""
    places = tf.maximum(tf.reshape(layout.places, [-1]), 0)
    sequence, positions = tf.reshape(layout.sequence, [-1]), tf.reshape(layout.positions, [-1])
    back = tf.where(sequence >= 0, sequence * tf.shape(layout.places)[1] + positions, tf.size(places))
    width = x.shape[-1]

    @tf.custom_gradient
    def rows(x: Any) -> Any:
        def backward(gradient: Any) -> Any:  # looked up as in `moved`, with a place of zeros for padding
            return tf.gather(tf.concat([gradient, tf.zeros([1, width], gradient.dtype)], 0), back)

        return tf.gather(x, places), backward

    return tf.reshape(rows(x), [_size(layout.places, 0), _size(layout.places, 1), width])


def attention_bias(layout: Layout) -> Any:
    """For queries outside of the rows: what is added to the logits of a sequence's places, float32 [N, 1, M]."""
    return _bias(token_mask(layout))


def first_tokens(states: Any, layout: Layout) -> Any:
    """The states of the first token of each sequence: [T, D] to [N, D]; of some token where there is none."""
    return tf.gather(states, tf.maximum(layout.places[:, 0], 0))


def token_means(states: Any, layout: Layout) -> Any:
    """The mean state of each sequence's tokens, float32 [N, D]; zeros for a sequence without tokens."""
    sequence, count = tf.reshape(layout.sequence, [-1]), _size(layout.places, 0)
    totals = tf.math.unsorted_segment_sum(tf.cast(states, tf.float32), sequence, count)
    tokens = tf.reduce_sum(tf.cast(token_mask(layout), tf.float32), axis=1, keepdims=True)
    return totals / tf.maximum(tokens, 1.0)


def moved(x: Any, there: Any, back: Any) -> Any:
    """`x[there]`, whose gradient is looked up too: that of `x[t]` is that of place `back[t]`, and no sum over places.

    So where several places show one token, all but one of them must be read by nobody.
    """

    @tf.custom_gradient
    def move(x: Any) -> Any:
        return tf.gather(x, there), lambda gradient: tf.gather(gradient, back)

    return move(x)


def _bias(seen: Any) -> Any:
    """[n, Q, L] to [n, 1, Q, L]: 0 where a place is seen, `BLOCKED` where it is not."""
    return tf.where(seen, 0.0, BLOCKED)[:, None]


def _size(x: Any, axis: int) -> Any:
    """Static where it is known."""
    return tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]
