"""Metrics of the batches that are trained on, to watch a training: those of reports are computed by validations."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from rankcli.backend import tf
from rankcli.config.registry import HOOKS, option
from rankcli.hooks.base import Hook, HookContext, HookOptions
from rankcli.shapes import Batch, Outputs, StepContext
from rankcli.vectors import Relevance, all_documents, is_relevant, vectors_of

_LEAST = -1e30  # of candidates that only pad


class Ranking(NamedTuple):
    """The candidates of queries, best first: `relevant` [Q, N], float32; `real` [Q] is 0 for a query that only pads."""

    relevant: Any
    real: Any


def ranking(scores: Any, relevant: Any, real: Any) -> Ranking:
    """Sort candidates [Q, N] by their scores. Of equal scores the relevant come last, so ties are no success."""
    marks = tf.cast(tf.logical_and(relevant, real), tf.float32)
    last = tf.argsort(marks, axis=1, stable=True)
    scores = tf.gather(tf.where(real, scores, _LEAST), last, batch_dims=1)
    order = tf.argsort(scores, axis=1, direction="DESCENDING", stable=True)
    sorted_marks = tf.gather(tf.gather(marks, last, batch_dims=1), order, batch_dims=1)
    return Ranking(sorted_marks, tf.cast(tf.reduce_any(real, axis=1), tf.float32))


def precision(found: Ranking, depth: int) -> Any:
    """Return the relevant ones among the first `depth`, divided by `depth`, [Q]."""
    return tf.reduce_sum(found.relevant[:, :depth], axis=1) / depth


def reciprocal_rank(found: Ranking) -> Any:
    """Return 1 / the rank of the first relevant candidate; 0 without any, [Q]."""
    ranks = tf.range(1, tf.shape(found.relevant)[1] + 1, dtype=tf.float32)
    return tf.reduce_max(found.relevant / ranks, axis=1)


def r_precision(found: Ranking) -> Any:
    """Return the relevant ones among the first R, divided by R, the number of all relevant ones; 0 without any, [Q]."""
    count = tf.reduce_sum(found.relevant, axis=1)
    first = tf.sequence_mask(tf.cast(count, tf.int32), tf.shape(found.relevant)[1], tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(found.relevant * first, axis=1), count)


def measured(name: str, found: Ranking) -> tuple[Any, Any]:
    """Return the sum over queries and their number. One without a relevant candidate counts as 0."""
    values = {"RR": reciprocal_rank, "Rprec": r_precision}.get(name) or (lambda found: precision(found, int(name[2:])))
    return tf.reduce_sum(values(found) * found.real), tf.reduce_sum(found.real)


def pairs_of(batch: Batch, scores: Any) -> tuple[Any, Any]:
    """Return s_i - s_j [B, K, K], and 1 for the pairs of documents of a group with label_i > label_j, else 0."""
    labels, mask = batch.labels, batch.doc_mask
    real = tf.logical_and(mask[:, :, None], mask[:, None, :])
    above = tf.logical_and(real, labels[:, :, None] > labels[:, None, :])
    return scores[:, :, None] - scores[:, None, :], tf.cast(above, tf.float32)


def accuracy(batch: Batch, scores: Any) -> tuple[Any, Any]:
    """Return the number of pairs in the right order, and of all pairs."""
    leads, pairs = pairs_of(batch, scores)
    return tf.reduce_sum(pairs * tf.cast(leads > 0, tf.float32)), tf.reduce_sum(pairs)


def margin(batch: Batch, scores: Any) -> tuple[Any, Any]:
    """Return the sum of the leads of pairs, and their number."""
    leads, pairs = pairs_of(batch, scores)
    return tf.reduce_sum(tf.where(pairs > 0, leads, 0.0)), tf.reduce_sum(pairs)


_OF_PAIRS: Mapping[str, Callable[[Batch, Any], tuple[Any, Any]]] = {"accuracy": accuracy, "margin": margin}


def in_groups(name: str, batch: Batch, scores: Any) -> tuple[Any, Any]:
    """Return the sum and the count of a metric of the groups of a batch, each ranked by itself."""
    scores = tf.cast(scores, tf.float32)
    if name in _OF_PAIRS:
        return _OF_PAIRS[name](batch, scores)
    return measured(name, ranking(scores, is_relevant(batch), batch.doc_mask))


@dataclass(frozen=True, kw_only=True)
class _Options(HookOptions):
    """The options of both hooks."""

    known: ClassVar[tuple[str, ...]] = ("RR", "Rprec")
    metrics: tuple[str, ...] = option((), "")
    progress_bar: bool = option(False, "show them in the progress line, too")

    def __post_init__(self) -> None:
        for name in self.metrics:
            if name not in self.known and not re.fullmatch(r"P@[1-9]\d*", name):
                raise ValueError(f"there is no metric {name!r} (there are: {', '.join(self.known)}, P@k)")
        if not self.metrics or len(set(self.metrics)) < len(self.metrics):
            raise ValueError("metrics must name at least one, and none twice")


@HOOKS.register("metrics")
@dataclass(frozen=True, kw_only=True)
class GroupMetrics(_Options):
    """Measures how the scores order the documents of each group of the batch: `train/METRIC`.

    `accuracy` is the share of pairs with different labels in the right order, `margin` the mean difference of their
    scores. `RR`, `P@k` and `Rprec` are those of the group as a ranking: easier than those of a whole run, and without
    a relevant document 0.
    """

    known: ClassVar[tuple[str, ...]] = ("accuracy", "margin", "RR", "Rprec")
    metrics: tuple[str, ...] = option(("accuracy", "margin", "RR"), "any of accuracy, margin, RR, Rprec, P@k")

    def build(self, ctx: HookContext) -> Hook:
        """Build the hook."""
        return _GroupMetrics(self, "train/")


@HOOKS.register("batchmetrics")
@dataclass(frozen=True, kw_only=True)
class BatchMetrics(_Options):
    """Ranks all documents of the batch for each of its queries, by their vectors: `train/batch/METRIC`.

    Relevant are the documents that are judged so, and those of the query's groups. A document that is there several
    times counts once.
    """

    in_batch: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("query", "doc")
    metrics: tuple[str, ...] = option(("P@1", "RR", "Rprec"), "any of RR, Rprec, P@k")

    def build(self, ctx: HookContext) -> Hook:
        """Build the hook."""
        return _BatchMetrics(self, "train/batch/")


class _GroupMetrics(Hook):
    def __init__(self, options: _Options, prefix: str) -> None:
        self._names = {f"{prefix}{name}": name for name in options.metrics}
        self.measures, self.progress_bar = tuple(self._names), options.progress_bar

    def measure(self, batch: Batch, outputs: Outputs, step: StepContext) -> Mapping[str, tuple[Any, Any]]:
        return {shown: in_groups(name, batch, outputs.scores) for shown, name in self._names.items()}


class _BatchMetrics(_GroupMetrics):
    def measure(self, batch: Batch, outputs: Outputs, step: StepContext) -> Mapping[str, tuple[Any, Any]]:
        own = vectors_of(batch, outputs)
        rows = all_documents(batch, own, step)
        others = Relevance(batch, step).negatives(batch.keys.query, rows)
        real = tf.logical_and(_once(rows.key, rows.real)[None, :], tf.reduce_any(batch.doc_mask, axis=1)[:, None])
        scores = tf.matmul(own.queries, rows.vectors, transpose_b=True)
        found = ranking(scores, tf.logical_not(others), real)
        return {shown: measured(name, found) for shown, name in self._names.items()}


def _once(key: Any, real: Any) -> Any:
    """Return True for the first of all real rows with the same key, [N]."""
    order = tf.argsort(tf.where(real, key, tf.zeros_like(key)), stable=True)
    ordered = tf.gather(key, order)
    new = tf.concat([[True], ordered[1:] != ordered[:-1]], axis=0)
    return tf.logical_and(real, tf.gather(new, tf.argsort(order)))
