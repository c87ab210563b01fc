"""What the encoder knows of a `Layout`: row n of the padded layout is sequence n, from its first position on."""

from __future__ import annotations

from typing import Any

from rankcli.backend import tf
from rankcli.shapes import Layout

BLOCKED = -1e9  # added to the attention logits of padding; finite, so that a row of nothing but padding stays finite


def token_mask(layout: Layout) -> Any:
    """True on tokens, False on padding: bool [R, L]."""
    return layout.sequence >= 0


def attention_bias(layout: Layout) -> Any:
    """What is added to attention logits, float32 [R, 1, 1, L]: 0 on the tokens of a row, `BLOCKED` on its padding."""
    return tf.where(token_mask(layout), 0.0, BLOCKED)[:, None, None, :]


def first_tokens(states: Any) -> Any:
    """The states of the first token of each sequence: [R, L, D] to [N, D]."""
    return states[:, 0]


def token_means(states: Any, layout: Layout) -> Any:
    """The mean state of each sequence's tokens, float32 [N, D]; zeros for a sequence without tokens."""
    weights = tf.cast(token_mask(layout), tf.float32)[:, :, None]
    totals = tf.reduce_sum(tf.cast(states, tf.float32) * weights, axis=1)
    return totals / tf.maximum(tf.reduce_sum(weights, axis=1), 1.0)
