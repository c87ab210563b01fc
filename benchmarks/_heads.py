"""A linear head on kept vectors, trained in a second or two with rankcli's samplers and losses.

What `train` does around that (records, checkpoints, reports) is left out, so that a hundred trainings fit into minutes:
one process, vectors and candidates in memory. Scores are 20 times the cosine, as a bi-encoder's; the head starts as the
identity; Adam's rate rises in the first tenth of the steps and falls to 0; the best weights on dev count, those of the
start among them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks._tokenizer import minilm
from rankcli.backend import tf
from rankcli.data.trec import Run, ranking
from rankcli.records.keys import doc_key, query_key
from rankcli.shapes import Batch, Keys, Outputs, Sample, StepContext
from rankcli.verbs.encode import encode

Array = npt.NDArray[Any]
SCALE, WARMUP, CHECKS = 20.0, 0.1, 4
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-7


@dataclass(frozen=True)
class Vectors:
    """Vectors of length 1 by id."""

    rows: Mapping[str, int]
    table: Array

    @classmethod
    def read(cls, path: Path) -> Vectors:
        """Read NAME.npy and the ids beside it, as `rankcli encode` writes them."""
        ids = path.with_suffix(".ids.txt").read_text().splitlines()
        return cls({each: row for row, each in enumerate(ids)}, np.load(path).astype(np.float32))

    def of(self, ids: Iterable[str]) -> Array:
        """The vectors of ids, in their order."""
        return self.table[[self.rows[each] for each in ids]]


class Rankings:
    """Candidates of judged queries, to be reranked: nDCG@10 of each query, as trec_eval has it."""

    def __init__(self, run: Run, qrels: Mapping[str, Mapping[str, int]], vectors: tuple[Vectors, Vectors], depth: int):
        self.qids = sorted(qrels)
        found = [ranking(run[qid])[:depth] if qid in run else [] for qid in self.qids]
        self.mask = np.array([[place < len(docids) for place in range(depth)] for docids in found])
        grades = [
            [max(qrels[qid].get(docid, 0), 0) for docid in docids] for qid, docids in zip(self.qids, found, strict=True)
        ]
        self.gains = np.array([row + [0] * (depth - len(row)) for row in grades], np.float64)
        best = [sorted((max(grade, 0) for grade in qrels[qid].values()), reverse=True)[:10] for qid in self.qids]
        self.ideal = np.array([dcg(np.array([row + [0] * (10 - len(row))], float))[0] for row in best])
        self.queries, self.docs = vectors[0].of(self.qids), vectors[1].table
        rows = [[vectors[1].rows[docid] for docid in docids] for docids in found]
        self.rows = np.array([row + [0] * (depth - len(row)) for row in rows])

    def first(self) -> Array:
        """Of the candidates in their own order."""
        return self._ndcg(-np.arange(self.mask.shape[1]) * np.ones(len(self.qids))[:, None])

    def reranked(self, weights: Array, bias: Array) -> Array:
        """Of the candidates in the order of a head's cosines."""
        queries, docs = (unit(each @ weights + bias) for each in (self.queries, self.docs))
        return self._ndcg(np.einsum("qd,qkd->qk", queries, docs[self.rows], optimize=True))

    def _ndcg(self, scores: Array) -> Array:
        order = np.argsort(-np.where(self.mask, scores, -np.inf), axis=1, kind="stable")[:, :10]
        found = dcg(np.take_along_axis(self.gains, order, axis=1))
        shares: Array = np.divide(found, self.ideal, out=np.zeros_like(found), where=self.ideal > 0)
        return shares


def dcg(gains: Array) -> Array:
    """Discounted gains of the first places."""
    found: Array = (gains / np.log2(np.arange(gains.shape[1]) + 2)).sum(axis=1)
    return found


def unit(vectors: Array) -> Array:
    """Vectors scaled to length 1."""
    found: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return found


def _filled(vectors: Array, rows: int) -> Array:
    return np.concatenate([vectors, np.zeros((rows - len(vectors), vectors.shape[1]), np.float32)])


class Head(NamedTuple):
    """A trained head: the step of its best weights on dev, these, and the last ones."""

    best: int
    weights: tuple[Array, Array]
    last: tuple[Array, Array]


def trained(
    loss: Callable[..., Any],
    sampler: Callable[[int], Sample],
    vectors: tuple[Vectors, Vectors],
    dev: Rankings,
    *,
    steps: int,
    batch: int,
    rate: float,
    judged: Any = (),
    offset: bool = False,
) -> Head:
    """Train a head with a loss on the samples of a sampler; with `offset` a number is added to all scores.

    A bi-encoder has none, but losses of single documents need one: the cosines of pairs that match are not 0.
    """
    width = vectors[1].table.shape[1]
    parts = [tf.Variable(np.eye(width, dtype=np.float32)), tf.Variable(np.zeros(width, np.float32))]
    parts += [tf.Variable(-0.5)] if offset else []
    slots = [[tf.Variable(tf.zeros_like(part)) for part in parts] for _ in range(2)]
    step = tf.function(partial(_step, loss, parts, slots, judged), autograph=False, reduce_retracing=True)
    kept, best = now(parts), (float(dev.reranked(*now(parts)).mean()), 0)
    for number in range(steps):
        samples = [sampler(number * batch + n) for n in range(batch)]
        factor = min((number + 1) / (WARMUP * steps), (steps - number) / ((1 - WARMUP) * steps))
        step(*_tensors(samples, vectors), np.float32(rate * factor), np.int32(number))
        if (number + 1) % max(1, steps // CHECKS) == 0 and (value := float(dev.reranked(*now(parts)).mean())) > best[0]:
            kept, best = now(parts), (value, number + 1)
    return Head(best[1], kept, now(parts))


def now(parts: Sequence[Any]) -> tuple[Array, Array]:
    """The weights and biases as they are."""
    weights, bias = (part.numpy().copy() for part in parts[:2])
    return weights, bias


def _tensors(samples: Sequence[Sample], vectors: tuple[Vectors, Vectors]) -> tuple[Any, ...]:
    """Vectors of queries and of the different documents, whose place they have, labels, mask, columns and keys."""
    width = max(len(sample.docids) for sample in samples)

    def padded(values: Iterable[Sequence[float]], kind: Any = np.float32) -> Array:
        return np.array([[*row, *[0] * (width - len(row))] for row in values], kind)

    rows, places = np.unique(
        padded([[vectors[1].rows[d] for d in s.docids] for s in samples], np.int32), return_inverse=True
    )
    mask = padded([[1] * len(sample.docids) for sample in samples], bool)
    columns = {name: padded([sample.columns[name] for sample in samples]) for name in samples[0].columns}
    qids = [sample.qid for sample in samples]
    keys = padded([[doc_key(docid) for docid in sample.docids] for sample in samples], np.int64)
    labels = padded([sample.labels for sample in samples])
    queries, docs, places = vectors[0].of(qids), vectors[1].table[rows], places.reshape(mask.shape).astype(np.int32)
    return queries, docs, places, labels, mask, columns, np.array([query_key(qid) for qid in qids]), keys


def _step(
    loss: Callable[..., Any], parts: Sequence[Any], slots: Sequence[Sequence[Any]], judged: Any, *given: Any
) -> None:
    """One step of Adam."""
    queries, docs, places, labels, mask, columns, query_keys, doc_keys, rate, number = given
    batch = Batch(labels=labels, doc_mask=mask, columns=columns, fields={}, keys=Keys(query_keys, doc_keys))
    with tf.GradientTape() as tape:
        outputs = _outputs(queries, docs, places, mask, parts)
        value = tf.reduce_mean(loss(batch, outputs, StepContext(number=number, judged=judged)))
    count = tf.cast(number + 1, tf.float32)
    rate *= tf.sqrt(1 - BETA2**count) / (1 - BETA1**count)
    for part, gradient, m, v in zip(parts, tape.gradient(value, parts), *slots, strict=True):
        m.assign(BETA1 * m + (1 - BETA1) * gradient)
        v.assign(BETA2 * v + (1 - BETA2) * gradient * gradient)
        part.assign_sub(rate * m / (tf.sqrt(v) + EPSILON))


def _outputs(queries: Any, docs: Any, places: Any, mask: Any, parts: Sequence[Any]) -> Outputs:
    weights, bias, *offset = parts
    queries, docs = (tf.math.l2_normalize(tf.tensordot(each, weights, 1) + bias, -1) for each in (queries, docs))
    docs, count = tf.gather(docs, places), tf.size(mask)
    owners = {"query": tf.range(tf.shape(queries)[0]), "doc": tf.where(tf.reshape(mask, [-1]), tf.range(count), -1)}
    flat = tf.reshape(docs, [count, docs.shape[-1]])
    scores = tf.add_n([tf.einsum("bd,bkd->bk", queries, docs), *(offset[0] + tf.zeros(tf.shape(mask)) for _ in offset)])
    return Outputs(SCALE * scores, {"query": queries, "doc": flat}, owners)


def encoded(folder: Path, docs: Path, queries: Path, tokens: int) -> tuple[Vectors, Vectors]:
    """MiniLM's vectors of queries and documents, of their first `tokens` tokens; kept in `folder`."""
    made = folder / "vectors"
    if not (made / "queries.npy").exists():
        made.mkdir(parents=True, exist_ok=True)
        model = folder / "minilm"
        shutil.copytree(minilm(), model, dirs_exist_ok=True)
        (model / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": tokens, "do_lower_case": False}))
        encode(model=str(model), docs=str(docs), queries=str(queries), output=made, evalbatch=64, strategy="cpu")
    return Vectors.read(made / "queries.npy"), Vectors.read(made / "docs.npy")
