"""Where the tokens of a `Layout` lie: in rows for attention, by sequence, first ones and means.

Within the encoder the states of all tokens are one list [T, D], whatever the layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rankcli.backend import tf
from rankcli.shapes import Layout

BLOCKED = -1e9  # added to attention logits of other sequences and of padding; finite, so that no row has none


class Pieces:
    """The tokens in rows [n, L]: `owners` tells the sequence of each place, -1 for padding, in one tensor per chunk.

    Rows of chunks hold one sequence each. A token's queries, keys and values lie in one vector, which is cut into
    pieces of one head each. All pieces are looked up where they are needed, in one step: to gather tokens and then to
    transpose heads would take twice as long.
    """

    def __init__(self, layout: Layout, heads: int) -> None:
        self._heads, self._chunks = heads, layout.chunks
        if not self._chunks:
            owner = layout.sequence
            self._shape = [-1 if owner.shape[0] is None else owner.shape[0], size(owner, 1)]
            self.owners = [owner]
            return
        there, self._back, shapes = self._chunks
        self._shapes = [(shape[0], shape[1]) for shape in shapes]
        sizes = tf.stack([*(rows * length for rows, length in self._shapes), 1])
        *places, self._nowhere = tf.split(there, sizes, num=len(self._shapes) + 1)
        self._places = [tf.reshape(place, shape) for place, shape in zip(places, self._shapes, strict=True)]
        self.owners = [tf.gather(layout.sequence, tokens) for tokens in self._places]
        self._moves = {parts: self._move(parts) for parts in (1, 3)}

    def apart(self, x: Any) -> list[list[Any]]:
        """Tokens [T, 3 D] to queries, keys and values [n, H, L, D/H] of all rows, chunk by chunk."""
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
        """What each head found, [n, H, L, D/H], to tokens [T, D]."""
        width = rows[0].shape[-1]
        if not self._chunks:
            return tf.reshape(tf.transpose(rows[0], [0, 2, 1, 3]), [-1, self._heads * width])
        there, back = self._moves[1]
        pieces = [tf.reshape(piece, [-1, width]) for piece in rows]
        found = moved(tf.concat([*pieces, tf.zeros([1, width], pieces[0].dtype)], 0), back, there)
        return tf.reshape(found, [-1, self._heads * width])

    def _move(self, parts: int) -> tuple[Any, Any]:
        """Where the pieces of all chunks, [parts, n, H, L] of each, lie in tokens of `parts` times H pieces, one more
        for no piece; and where those of all tokens, [T * parts * H], lie in the chunks.
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

    return tf.reshape(rows(x), [size(layout.places, 0), size(layout.places, 1), width])


def attention_bias(layout: Layout) -> Any:
    """For queries outside of the rows: what is added to the logits of a sequence's places, float32 [N, 1, M]."""
    return bias_of(token_mask(layout))


def first_tokens(states: Any, layout: Layout) -> Any:
    """The states of the first token of each sequence: [T, D] to [N, D]; of some token where there is none."""
    return tf.gather(states, tf.maximum(layout.places[:, 0], 0))


def token_means(states: Any, layout: Layout) -> Any:
    """The mean state of each sequence's tokens, float32 [N, D]; zeros for a sequence without tokens."""
    sequence, count = tf.reshape(layout.sequence, [-1]), size(layout.places, 0)
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


def bias_of(seen: Any) -> Any:
    """[n, Q, L] to [n, 1, Q, L]: 0 where a place is seen, `BLOCKED` where it is not."""
    return tf.where(seen, 0.0, BLOCKED)[:, None]


def size(x: Any, axis: int) -> Any:
    """Static where it is known."""
    return tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]
