"""Groups to compute losses on, and every registered loss with options that differ in what is computed."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.shapes import Batch, Keys, Outputs, StepContext

NEEDED = {"tfr": {"key": "softmax_loss"}}
MORE: list[tuple[str, dict[str, Any]]] = [
    ("ranknet", {"reduction": "sum"}),
    ("neural_ndcg", {"rounds": 0}),
    ("neural_ndcg", {"rounds": 1}),
    ("margin_mse", {"pairs": "teacher"}),
    ("kl", {"temperature": 2.0}),
    ("adr_mse", {"discount": "reciprocal"}),
    ("infonce", {"symmetric": True, "temperature": 1.0}),
    ("triplet_margin", {"mining": "hard"}),
    ("coupled_rank_distil", {"topk": 2}),
    ("sigmoid_margin", {"margin": 0.1, "temperature": 0.5}),
    ("tfr", {"key": "approx_ndcg_loss"}),
]
EVERY = [*((name, NEEDED.get(name, {})) for name in LOSSES.builtins()), *MORE]
IDS = [" ".join([name, *(f"{key}={value}" for key, value in options.items())]) for name, options in EVERY]


class Case(NamedTuple):
    """Groups as NumPy arrays: labels, mask, scores and columns [B, K], vectors [B, D] and [B, K, D]."""

    labels: np.ndarray
    mask: np.ndarray
    scores: np.ndarray
    teacher: np.ndarray
    weight: np.ndarray
    queries: np.ndarray
    docs: np.ndarray

    def taken(self, groups: Any = slice(None), docs: Any = slice(None)) -> Case:
        """Choose groups and documents."""
        queries, vectors = self.queries[groups], self.docs[groups][:, docs]
        return Case(*(part[groups][:, docs] for part in self[:5]), queries, vectors)


def drawn(groups: int = 4, docs: int = 5, scale: Any = 1.0, seed: int = 7) -> Case:
    """Draw groups with grades 0..3, at least one of them above 0, scores and products of vectors about as large as
    `scale`, one for all or one per group, and weights of 1.
    """
    scale = np.broadcast_to(np.float32(scale), groups)[:, None]
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 4, (groups, docs)).astype(np.float32)
    labels[:, :2] = [2, 0][:docs]
    scores, teacher = (draw.normal(size=(groups, docs)).astype(np.float32) for _ in range(2))
    vectors = [draw.normal(size=shape).astype(np.float32) for shape in ((groups, 3), (groups, docs, 3))]
    mask = np.ones((groups, docs), bool)
    return Case(
        labels,
        mask,
        scores * scale,
        teacher * 3,
        np.ones_like(labels),
        vectors[0] * scale**0.5,
        vectors[1] * scale[:, None] ** 0.5,
    )


def padded(case: Case, docs: int = 2, groups: int = 1) -> Case:
    """Add places and groups of padding, full of junk."""
    more = Case(*(np.full_like(part, 1) for part in case))
    more = Case(more.labels * 9, more.mask & False, more.scores * 77, *(part * 5 for part in more[3:]))
    joined = [np.concatenate([a, b[:, :docs]], 1) for a, b in zip(case, more, strict=True) if a.ndim > 1]
    joined[5] = case.queries  # has no axis of documents
    rows = [np.concatenate([a, a[:groups]], 0) for a in joined]
    rows[1][len(case.mask) :] = False
    return Case(*rows)


def computed(
    name: str, options: dict[str, Any], case: Case, step: StepContext | None = None, *, weighted: bool = True
) -> tuple[Any, list[Any]]:
    """Compute the loss of every group, and the gradients of their sum: of scores, queries and documents."""
    loss = LOSSES.get(name)(**options).build()
    parts = [tf.constant(part) for part in (case.scores, case.queries, case.docs)]
    with tf.GradientTape() as tape:
        tape.watch(parts)
        value = loss(batch_of(case, weighted), outputs_of(*parts), step or StepContext())
    found = tape.gradient(value, parts, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return value.numpy(), [tf.convert_to_tensor(gradient).numpy() for gradient in found]


def batch_of(case: Case, weighted: bool = True) -> Batch:
    """Make the batch of a case; columns are 0 on padding."""
    columns = {
        "teacher": case.teacher,
        "seen": 1 / (1 + np.exp(-case.teacher)),
        **({"weight": case.weight} if weighted else {}),
    }
    return Batch(
        labels=tf.constant(case.labels),
        doc_mask=tf.constant(case.mask),
        columns={key: tf.constant(np.where(case.mask, column, 0)) for key, column in columns.items()},
        fields={},
        keys=Keys(tf.constant(keys_of(case.queries)), tf.constant(np.where(case.mask, keys_of(case.docs), 0))),
    )


def keys_of(vectors: np.ndarray) -> np.ndarray:
    """Take equal vectors for equal ids."""
    return np.apply_along_axis(lambda row: zlib.crc32(row.tobytes()), -1, vectors).astype(np.int64)


def outputs_of(scores: Any, queries: Any, docs: Any) -> Outputs:
    """Make outputs whose vectors have a padding sequence behind them."""
    groups, width = docs.shape[0], docs.shape[1]
    flat = tf.concat([tf.reshape(docs, [groups * width, -1]), tf.ones([1, docs.shape[2]])], axis=0)
    owners = {"query": tf.range(groups), "doc": tf.concat([tf.range(groups * width), [-1]], axis=0)}
    return Outputs(scores, {"query": queries, "doc": flat}, owners)
