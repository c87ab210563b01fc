"""Views of the tokens of a `Layout`: in rows for attention, by sequence, first tokens, means.

Within the encoder the states of all tokens are one list [T, D], for every layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rankcli.backend import tf
from rankcli.shapes import UNSEEN, Layout

# added to attention logits of other sequences and of padding; finite, so that softmax works in rows that see nothing
BLOCKED = -1e9


class Pieces:
    """The tokens in rows [n, L]: `owners` has the sequence of each place, -1 for padding, in one tensor per chunk, and
    `asked` the same, but a negative number at places that no token attends to.

    A row of a chunk has one sequence. A token's queries, keys and values are one vector, which is cut into pieces of
    one head each. All pieces are looked up in one step, directly in their final order: to gather tokens and then to
    transpose heads would take twice as long.
    """

    def __init__(self, layout: Layout, heads: int) -> None:
        self._heads, self._chunks = heads, layout.chunks
        if not self._chunks:
            owner = layout.sequence
            self._shape = [-1 if owner.shape[0] is None else owner.shape[0], size(owner, 1)]
            self.owners, self.asked = [owner], [_asked(layout)]
            return
        there, self._back, shapes = self._chunks
        self._shapes = [(shape[0], shape[1]) for shape in shapes]
        sizes = tf.stack([*(rows * length for rows, length in self._shapes), 1])
        *places, self._nowhere = tf.split(there, sizes, num=len(self._shapes) + 1)
        self._places = [tf.reshape(place, shape) for place, shape in zip(places, self._shapes, strict=True)]
        self.owners, self.asked = (
            [tf.gather(owner, tokens) for tokens in self._places] for owner in (layout.sequence, _asked(layout))
        )
        self._moves = {parts: self._move(parts) for parts in (1, 3)}

    def apart(self, x: Any) -> list[list[Any]]:
        """Turn tokens [T, 3 D] into queries, keys and values [n, H, L, D/H] of all rows, chunk by chunk."""
        width = x.shape[-1] // (3 * self._heads)
        if not self._chunks:
            rows = tf.reshape(x, [*self._shape, 3, self._heads, width])
            return [tf.unstack(tf.transpose(rows, [2, 0, 3, 1, 4]))]
        there, back = self._moves[3]
        pieces = moved(tf.reshape(x, [-1, width]), there, back)
        sizes = tf.stack([*(3 * self._heads * rows * length for rows, length in self._shapes), 1])
        *chunks, _ = tf.split(pieces, sizes, num=len(self._shapes) + 1)
        return [
            tf.unstack(tf.reshape(chunk, [3, rows, self._heads, length, width]))
            for chunk, (rows, length) in zip(chunks, self._shapes, strict=True)
        ]

    def together(self, rows: Sequence[Any]) -> Any:
        """Turn the results of all heads, [n, H, L, D/H], into tokens [T, D]."""
        width = rows[0].shape[-1]
        if not self._chunks:
            return tf.reshape(tf.transpose(rows[0], [0, 2, 1, 3]), [-1, self._heads * width])
        there, back = self._moves[1]
        pieces = [tf.reshape(piece, [-1, width]) for piece in rows]
        found = moved(tf.concat([*pieces, tf.zeros([1, width], pieces[0].dtype)], 0), back, there)
        return tf.reshape(found, [-1, self._heads * width])

    def _move(self, parts: int) -> tuple[Any, Any]:
        """Return two index vectors, from chunks to tokens and back.

        The first has, for the pieces of all chunks, [parts, n, H, L] each, their places among the tokens' `parts` times
        H pieces, and one more for no piece. The second has the places of all tokens' pieces, [T * parts * H], in the
        chunks.
        """
        there, first, by_part, by_head, taken = [], [], [], [], tf.constant(0)
        part, head = tf.range(parts)[:, None, None, None], tf.range(self._heads)[:, None]
        for tokens, (rows, length) in zip(self._places, self._shapes, strict=True):
            there.append(tf.reshape((tokens[:, None] * parts + part) * self._heads + head, [-1]))
            row = tf.range(rows)[:, None] * (self._heads * length) + tf.range(length)
            first.append(tf.reshape(taken + row, [-1]))
            by_part.append(tf.fill([rows * length], rows * self._heads * length))
            by_head.append(tf.fill([rows * length], length))
            taken += parts * self._heads * rows * length
        nothing = tf.zeros([1], tf.int32)
        steps = (
            tf.concat([*found, last], 0)
            for found, last in ((first, taken[None]), (by_part, nothing), (by_head, nothing))
        )
        start, part_step, head_step = (tf.gather(step, self._back)[:, None, None] for step in steps)
        back = start + part_step * tf.range(parts)[:, None] + head_step * tf.range(self._heads)
        return tf.concat([*there, self._nowhere * (parts * self._heads)], 0), tf.reshape(back, [-1])


def token_mask(layout: Layout) -> Any:
    """Return a mask of the M places of each sequence that have a token, bool [N, M]."""
    return layout.places >= 0


def by_sequence(x: Any, layout: Layout) -> Any:
    """Turn tokens [T, W] into sequences [N, M, W]. Places after the end of a sequence have the values of an arbitrary
    token.
    """
    places = tf.maximum(tf.reshape(layout.places, [-1]), 0)
    sequence, positions = tf.reshape(layout.sequence, [-1]), tf.reshape(layout.positions, [-1])
    back = tf.where(sequence >= 0, sequence * tf.shape(layout.places)[1] + positions, tf.size(places))
    width = x.shape[-1]

    @tf.custom_gradient
    def rows(x: Any) -> Any:
        def backward(gradient: Any) -> Any:  # looked up as in `moved`, with a row of zeros for padding
            return tf.gather(tf.concat([gradient, tf.zeros([1, width], gradient.dtype)], 0), back)

        return tf.gather(x, places), backward

    return tf.reshape(rows(x), [size(layout.places, 0), size(layout.places, 1), width])


def attention_bias(layout: Layout) -> Any:
    """Return the bias for queries outside of rows: float32 [N, 1, M], added to the logits of a sequence's places."""
    asked = tf.gather(tf.reshape(_asked(layout), [-1]), tf.maximum(layout.places, 0))
    return bias_of(tf.logical_and(token_mask(layout), asked >= 0))


def _asked(layout: Layout) -> Any:
    """Return the sequence of each token, a negative number for padding and for tokens that no token attends to."""
    return tf.where(layout.parts == UNSEEN, -2, layout.sequence)


def first_tokens(states: Any, layout: Layout) -> Any:
    """Return the states of the first token of each sequence, [T, D] to [N, D]; an arbitrary one if it is empty."""
    return tf.gather(states, tf.maximum(layout.places[:, 0], 0))


def means_of(states: Any, layout: Layout, chosen: Any) -> Any:
    """Return the mean state of the tokens of each sequence for which `chosen` is true, float32 [N, D]; zeros where
    there is none. `chosen` has an entry per token, as `layout.parts` has.
    """
    sequence = tf.where(tf.reshape(chosen, [-1]), tf.reshape(layout.sequence, [-1]), -1)
    count = size(layout.places, 0)
    totals = tf.math.unsorted_segment_sum(tf.cast(states, tf.float32), sequence, count)
    tokens = tf.math.unsorted_segment_sum(tf.ones_like(sequence, tf.float32), sequence, count)
    return totals / tf.maximum(tokens, 1.0)[:, None]


def token_means(states: Any, layout: Layout) -> Any:
    """Return the mean state of each sequence's tokens, float32 [N, D]; zeros for a sequence without tokens."""
    sequence, count = tf.reshape(layout.sequence, [-1]), size(layout.places, 0)
    totals = tf.math.unsorted_segment_sum(tf.cast(states, tf.float32), sequence, count)
    tokens = tf.reduce_sum(tf.cast(token_mask(layout), tf.float32), axis=1, keepdims=True)
    return totals / tf.maximum(tokens, 1.0)


def moved(x: Any, there: Any, back: Any) -> Any:
    """Return `x[there]` with a gradient that is a look-up, too: the gradient of `x[t]` is that of place `back[t]`.

    It does not add up gradients of several places. So where several places have the same token, only one may be read.
    """

    @tf.custom_gradient
    def move(x: Any) -> Any:
        return tf.gather(x, there), lambda gradient: tf.gather(gradient, back)

    return move(x)


def bias_of(seen: Any) -> Any:
    """Turn [n, Q, L] into [n, 1, Q, L]: 0 where a place is visible, `BLOCKED` where it is not."""
    return tf.where(seen, 0.0, BLOCKED)[:, None]


def size(x: Any, axis: int) -> Any:
    """Return the size of an axis, as an int where it is static."""
    return tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]
