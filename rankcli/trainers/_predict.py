"""Scores of every pair of a TFRecord cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rankcli.backend import tf
from rankcli.evaluation.interpolate import Scores
from rankcli.extractors._base import Extractor
from rankcli.log import Progress
from rankcli.records.interleave import Records
from rankcli.records.reader import prediction_batches
from rankcli.rerankers._base import Reranker
from rankcli.trainers._step import Step, prediction_step
from rankcli.trainers._strategy import is_static, per_replica

EVALBATCH = 64  # pairs per step when evalbatch is 0: larger batches gained nothing on a CPU


class Predictor:
    """Scores a cache with a reranker; its compiled step is kept from one call to the next."""

    def __init__(self, strategy: Any, reranker: Reranker, extractor: Extractor, evalbatch: int = 0) -> None:
        self.strategy, self.extractor = strategy, extractor
        replicas = strategy.num_replicas_in_sync
        wanted = evalbatch or EVALBATCH
        self.evalbatch = -(-wanted // replicas) * replicas
        self._step: Step = prediction_step(strategy, reranker)

    def scores(self, records: Records, label: str, on_batch: Callable[[], None] = lambda: None) -> Scores:
        """Scores by query and document, float32. `on_batch` is called after every step and may raise."""
        replicas = self.strategy.num_replicas_in_sync
        batches = prediction_batches(
            records,
            self.extractor,
            evalbatch=self.evalbatch,
            replicas=replicas,
            static=is_static(self.strategy),
        )
        found: Scores = {}
        with Progress(records.manifest.documents, label, "pairs") as bar:
            for batch, ids in batches:
                for scores, pairs in zip(self._step(per_replica(self.strategy, batch)), ids, strict=True):
                    values = tf.reshape(scores, [-1]).numpy()[: len(pairs)].tolist()
                    for (qid, docid), score in zip(pairs, values, strict=True):
                        found.setdefault(qid, {})[docid] = score
                bar.advance(sum(map(len, ids)))
                on_batch()
        return found
