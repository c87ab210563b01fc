"""Queries and documents of a whole batch as vectors, to compare them across groups and replicas."""

from __future__ import annotations

from typing import Any, NamedTuple

from rankcli.backend import tf
from rankcli.shapes import Batch, Outputs, StepContext

_NO_PAIR = 0  # a key that no pair has, but with a probability of 5e-20


class Vectors(NamedTuple):
    """A replica's own `queries` [B, D] and `docs` [B, K, D]."""

    queries: Any
    docs: Any


class Rows(NamedTuple):
    """Queries or documents to compare with, [N, D], and their keys; `real` is False for rows that only pad."""

    vectors: Any
    key: Any
    real: Any


def vectors_of(batch: Batch, outputs: Outputs) -> Vectors:
    """Return the vectors of a replica's groups, float32; those of padding documents are 0."""
    owners = tf.maximum(outputs.owners["query"], 0)
    queries = tf.gather(tf.cast(outputs.vectors["query"], tf.float32), owners)
    given, shape = tf.cast(outputs.vectors["doc"], tf.float32), tf.shape(batch.doc_mask)
    docs = tf.math.unsorted_segment_sum(given, outputs.owners["doc"], shape[0] * shape[1])
    docs = tf.reshape(docs, [shape[0], shape[1], given.shape[1] or tf.shape(given)[1]])
    return Vectors(queries, tf.where(batch.doc_mask[:, :, None], docs, 0.0))


def all_documents(batch: Batch, own: Vectors, step: StepContext) -> Rows:
    """Return the documents of all groups on all replicas, and those of the memory, if there is one."""
    rows = tf.size(batch.doc_mask)
    docs = tf.reshape(own.docs, [rows, tf.shape(own.docs)[2]])
    parts = (docs, tf.reshape(batch.keys.doc, [rows]), tf.reshape(batch.doc_mask, [rows]))
    found = _gathered(Rows(*parts), step)
    memory = step.memory
    if memory is None:
        return found
    more = Rows(memory.vectors, memory.doc, memory.real)
    return Rows(*(tf.concat(parts, axis=0) for parts in zip(found, more, strict=True)))


def all_queries(batch: Batch, own: Vectors, step: StepContext) -> Rows:
    """Return the queries of all groups on all replicas."""
    return _gathered(Rows(own.queries, batch.keys.query, tf.reduce_any(batch.doc_mask, axis=1)), step)


def _gathered(rows: Rows, step: StepContext) -> Rows:
    real = step.gather(tf.cast(rows.real, tf.int32))
    return Rows(step.gather(rows.vectors), step.gather(rows.key), real > 0)


def is_relevant(batch: Batch) -> Any:
    """Return True for the real documents with a label above 0, [B, K]."""
    return tf.logical_and(batch.doc_mask, batch.labels > 0)


class Relevance:
    """The pairs of a query and a document that are known as relevant.

    They are those that are judged, those of all groups of the batch, and those of the memory, if there is one.
    """

    def __init__(self, batch: Batch, step: StepContext) -> None:
        own = tf.where(is_relevant(batch), batch.keys.query[:, None] + batch.keys.doc, tf.cast(_NO_PAIR, tf.int64))
        pairs = [step.gather(tf.reshape(own, [-1])), *([step.memory.pair] if step.memory else [])]
        self._tables = [tf.sort(tf.concat(pairs, axis=0))]
        if len(step.judged):
            self._tables.append(step.judged)

    def negatives(self, keys: Any, rows: Rows) -> Any:
        """Return True for the real rows that are not known as relevant to `keys` [...], as [..., N]."""
        pairs = keys[..., None] + rows.key
        known = tf.zeros_like(pairs, tf.bool)
        for table in self._tables:
            known = tf.logical_or(known, _is_in(pairs, table))
        return tf.logical_and(rows.real, tf.logical_not(known))


def _is_in(values: Any, table: Any) -> Any:
    """Return True for the values that a sorted table has."""
    flat = tf.reshape(values, [-1])
    places = tf.minimum(tf.searchsorted(table, flat), tf.size(table) - 1)
    return tf.reshape(tf.gather(table, places) == flat, tf.shape(values))
