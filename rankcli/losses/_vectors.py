"""Queries and documents of a whole batch as vectors, for losses that compare them across groups and replicas."""

from __future__ import annotations

from typing import Any, NamedTuple

from rankcli.backend import tf
from rankcli.losses.base import masked, weights_of
from rankcli.shapes import Batch, Outputs, StepContext


class Everyone(NamedTuple):
    """The rows that all replicas gathered, [N, D]; `real` is False for padding.

    `replica` and `query` [N] tell rows of one query apart from others: groups of a replica that share a query have the
    same number. `relevant` is True for documents that are relevant to their own group's query.
    """

    vectors: Any
    real: Any
    relevant: Any
    replica: Any
    query: Any


class Vectors(NamedTuple):
    """A replica's own `queries` [B, D] and `docs` [B, K, D], and the numbers of its queries, float32 [B]."""

    queries: Any
    docs: Any
    number: Any


def vectors_of(batch: Batch, outputs: Outputs) -> Vectors:
    """Return the vectors of a replica's groups, float32; those of padding documents are 0."""
    owners = tf.maximum(outputs.owners["query"], 0)
    queries = tf.gather(tf.cast(outputs.vectors["query"], tf.float32), owners)
    given, shape = tf.cast(outputs.vectors["doc"], tf.float32), tf.shape(batch.doc_mask)
    docs = tf.math.unsorted_segment_sum(given, outputs.owners["doc"], shape[0] * shape[1])
    docs = tf.reshape(docs, [shape[0], shape[1], tf.shape(given)[1]])
    return Vectors(queries, tf.where(batch.doc_mask[:, :, None], docs, 0.0), tf.cast(owners, tf.float32))


def all_documents(batch: Batch, own: Vectors, step: StepContext) -> Everyone:
    """Return the documents of all groups on all replicas."""
    rows = tf.shape(own.docs)[0] * tf.shape(own.docs)[1]
    numbers = own.number[:, None] + tf.zeros_like(tf.cast(batch.doc_mask, tf.float32))
    marks = [tf.reshape(mark, [rows]) for mark in (batch.doc_mask, is_relevant(batch), numbers)]
    return _gathered(tf.reshape(own.docs, [rows, tf.shape(own.docs)[2]]), marks, step)


def all_queries(batch: Batch, own: Vectors, step: StepContext) -> Everyone:
    """Return the queries of all groups on all replicas; `relevant` is always True."""
    real = tf.reduce_any(batch.doc_mask, axis=1)
    return _gathered(own.queries, [real, tf.ones_like(real), own.number], step)


def _gathered(vectors: Any, marks: list[Any], step: StepContext) -> Everyone:
    replica = tf.fill([tf.shape(vectors)[0]], tf.cast(step.replica, tf.float32))
    told = step.gather(tf.stack([*(tf.cast(mark, tf.float32) for mark in marks), replica], axis=1))
    real, relevant, query, replica = tf.unstack(told, num=4, axis=1)
    return Everyone(step.gather(vectors), real > 0, relevant > 0, replica, query)


def is_relevant(batch: Batch) -> Any:
    """Return True for the real documents with a label above 0, [B, K]."""
    return tf.logical_and(batch.doc_mask, batch.labels > 0)


def negatives(own: Vectors, everyone: Everyone, step: StepContext) -> Any:
    """Return True for the rows that are negatives of each query, [B, N]: all real ones but those known as relevant.

    Relevance is known of the documents of the query's own group and of other groups of the same query and replica.
    """
    same_query = own.number[:, None] == everyone.query[None, :]
    here = everyone.replica == tf.cast(step.replica, tf.float32)
    known = tf.logical_and(tf.logical_and(same_query, here[None, :]), everyone.relevant[None, :])
    return tf.logical_and(everyone.real[None, :], tf.logical_not(known))


def mean_over_relevant(batch: Batch, costs: Any) -> Any:
    """Return the sum of weight x `costs` [B, K] over the relevant documents, divided by their number; 0 without any."""
    relevant = tf.cast(is_relevant(batch), tf.float32)
    total = tf.reduce_sum(weights_of(batch) * relevant * masked(batch, costs), axis=1)
    return tf.math.divide_no_nan(total, tf.reduce_sum(relevant, axis=1))


def normalised(own: Vectors) -> Vectors:
    """Return the vectors with length 1."""
    queries, docs = (tf.math.l2_normalize(rows, axis=-1, epsilon=1e-24) for rows in (own.queries, own.docs))
    return own._replace(queries=queries, docs=docs)
