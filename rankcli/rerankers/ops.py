"""Operations of all rerankers, between the flat sequences of a field and the [B, K] places of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from rankcli.backend import tf

Tensor: TypeAlias = Any
Aggregation: TypeAlias = Literal["max", "first", "sum", "avg"]
LOWEST = -1e9  # of what is taken already


def per_document(values: Tensor, owner: Tensor, doc_mask: Tensor, aggregation: Aggregation = "sum") -> Tensor:
    """Return one value per document, [B, K], from the values of its sequences, `values` [N]; or [B, K, ...] from
    [N, ...].

    `owner` [N] is the slot of each sequence. The values of a document's own sequences are aggregated: their `max`, the
    `first`, their `sum`, or their mean (`avg`). Sequences without an owner are ignored; a place without sequences gets
    0.
    """
    places = places_of(doc_mask)
    counts = tf.math.unsorted_segment_sum(tf.where(owner >= 0, 1.0, 0.0), owner, places)
    counts = tf.reshape(counts, [-1] + [1] * (values.shape.rank - 1))
    if aggregation == "max":
        joined = tf.math.unsorted_segment_max(values, owner, places)
    elif aggregation == "first":
        joined = tf.gather(values, tf.minimum(_firsts(owner, places), tf.size(owner) - 1))
    else:
        joined = tf.math.unsorted_segment_sum(values, owner, places)
        if aggregation == "avg":
            joined /= tf.maximum(counts, 1.0)
    joined = tf.where(counts > 0, joined, 0.0)
    return tf.reshape(joined, tf.concat([tf.shape(doc_mask), tf.shape(values)[1:]], 0))


def by_document(values: Tensor, owner: Tensor, doc_mask: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the values [N, D] of each document's sequences in their order, [B * K, most, D], zeros where there is
    none, and a mask of those that are there, bool [B * K, most].

    The sequences of a document follow each other; it has at most `most`.
    """
    places = places_of(doc_mask)
    number = tf.range(tf.size(owner)) - tf.gather(_firsts(owner, places), tf.maximum(owner, 0))
    at = tf.where(owner >= 0, owner * most + number, -1)
    rows = tf.math.unsorted_segment_sum(values, at, places * most)
    there = tf.math.unsorted_segment_sum(tf.ones_like(at), at, places * most)
    return tf.reshape(rows, [-1, most, values.shape[-1]]), tf.reshape(there > 0, [-1, most])


def _firsts(owner: Tensor, places: Any) -> Tensor:
    return tf.math.unsorted_segment_min(tf.range(tf.size(owner)), owner, places)


def top_per_document(values: Tensor, owner: Tensor, doc_mask: Tensor, weights: Sequence[float]) -> Tensor:
    """Return the sum of a document's greatest values with these weights, [B, K]: the greatest times the first weight,
    and so on. What a document lacks counts as 0; the rest is as in `per_document`.
    """
    places, numbers, left = places_of(doc_mask), tf.range(tf.size(owner)), values
    total = tf.zeros([places])
    for weight in weights:
        greatest = tf.math.unsorted_segment_max(left, owner, places)
        equal = left >= tf.gather(greatest, tf.maximum(owner, 0))
        chosen = tf.math.unsorted_segment_min(tf.where(equal, numbers, tf.size(owner)), owner, places)
        taken = tf.gather(values, tf.minimum(chosen, tf.size(owner) - 1))
        total += weight * tf.where(greatest > LOWEST, taken, 0.0)
        left = tf.where(numbers == tf.gather(chosen, tf.maximum(owner, 0)), LOWEST, left)
    return tf.reshape(total, tf.shape(doc_mask))


def places_of(doc_mask: Tensor) -> Any:
    """Return the number of places of a batch, as an int where it is static."""
    return tf.size(doc_mask) if None in doc_mask.shape else doc_mask.shape.num_elements()


def query_of(query_owner: Tensor, doc_owner: Tensor, doc_mask: Tensor) -> Tensor:
    """Return the query of each document sequence [N], as an index of query sequences; an arbitrary one without an
    owner.
    """
    group = tf.maximum(doc_owner, 0) // tf.shape(doc_mask)[1]
    return tf.gather(query_owner, group)
