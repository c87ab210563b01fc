"""Keys and values of tokens that the sequences of a group share: the [INT]s of the Set-Encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from rankcli.backend import tf
from rankcli.encoders.layouts import bias_of, size
from rankcli.shapes import Layout

Tensor: TypeAlias = Any


class Sharing:
    """The keys of shared tokens for rows of attention. `owners` has the sequence of each place, one tensor per chunk.

    A row of a chunk has one sequence, so its keys are the K shared tokens of that group. A packed row may have
    sequences of several groups: its keys are the shared tokens of the whole batch, and the mask has those of the group.
    `masks` are added to logits, [n, 1, 1 or L, S] for each chunk.
    """

    def __init__(self, layout: Layout, owners: Sequence[Tensor]) -> None:
        self._tokens, slot = layout.shared
        self._rows = [size(owner, 0) for owner in owners]
        self._seen: list[Tensor] = []
        self.masks: list[Tensor] = []
        for owner in owners:
            asking = tf.where(owner < 0, -1, tf.gather(slot, tf.maximum(owner, 0)))
            self._add(asking[:, :1] if layout.chunks else asking, bool(layout.chunks))

    def _add(self, asking: Tensor, apart: bool) -> None:
        """Add a chunk, of which `asking` has the slots of rows or of places, [n, 1 or L]."""
        tokens, documents = tf.reshape(self._tokens, [-1]), size(self._tokens, 1)
        places = tf.range(tf.size(tokens))[None]
        if apart:
            places = tf.maximum(asking, 0) // documents * documents + tf.range(documents)
        theirs, ours = places[:, None], asking[:, :, None]
        group = tf.logical_and(theirs // documents == ours // documents, theirs != ours)
        there = tf.gather(tokens, places)[:, None] >= 0
        self._seen.append(places)
        self.masks.append(bias_of(tf.logical_and(group, there)))

    def heads(self, parts: Tensor, heads: int) -> list[list[Tensor]]:
        """Return keys and values [n, H, S, D/H] of each chunk; `parts` are queries, keys and values of all tokens,
        [T, 3 D].
        """
        tokens = tf.maximum(tf.reshape(self._tokens, [-1]), 0)
        shared = tf.reshape(tf.gather(parts, tokens), [-1, 3, heads, parts.shape[-1] // (3 * heads)])[:, 1:]
        return [_by_row(tf.gather(shared, seen), rows) for seen, rows in zip(self._seen, self._rows, strict=True)]


def _by_row(pairs: Tensor, rows: Any) -> list[Tensor]:
    """Turn keys and values [n or 1, S, 2, H, h] into those of each row, [n, H, S, h]."""
    found = tf.transpose(pairs, [2, 0, 3, 1, 4])
    keys, values = tf.unstack(found if found.shape[1] != 1 else tf.repeat(found, rows, axis=1))
    return [keys, values]
