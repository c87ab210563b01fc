"""Scores of every pair of a TFRecord cache."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from rankcli.backend import tf
from rankcli.evaluation.interpolate import Scores
from rankcli.extractors._base import Extractor
from rankcli.log import Progress
from rankcli.records.interleave import Part, Records
from rankcli.records.reader import prediction_batches
from rankcli.rerankers._base import Reranker
from rankcli.trainers._hosts import Hosts
from rankcli.trainers._step import Step, prediction_step
from rankcli.trainers._strategy import is_static, per_replica

EVALBATCH = 64  # pairs per step when evalbatch is 0: larger batches gained nothing on a CPU


class Predictor:
    """Scores a cache with a reranker; its compiled step is kept from one call to the next."""

    def __init__(self, strategy: Any, reranker: Reranker, extractor: Extractor, evalbatch: int = 0) -> None:
        self.strategy, self.extractor, self.hosts = strategy, extractor, Hosts(strategy)
        replicas = strategy.num_replicas_in_sync
        wanted = evalbatch or EVALBATCH
        self.evalbatch = -(-wanted // replicas) * replicas
        self._step: Step = prediction_step(strategy, reranker)

    def scores(self, records: Records, label: str, on_batch: Callable[[], None] = lambda: None) -> Scores:
        """Scores by query and document, float32. `on_batch` is called after every step and may raise.

        Each host scores some of the queries, and all get the scores of all; with several, they make the same number of
        steps, the last ones perhaps with nothing to do.
        """
        found: Scores = {}
        with Progress(records.manifest.documents, label, "pairs") as bar:
            for done in self._in_step(self._scored(records, found)):
                bar.advance(done)
                on_batch()
        told = self.hosts.each(json.dumps(found).encode()) if self.hosts.count > 1 else ()
        for content in told:
            found.update(json.loads(content))
        return found

    def _scored(self, records: Records, found: Scores) -> Iterator[int]:
        """Scores this host's part, batch by batch; yields how many pairs there were in it."""
        hosts = self.hosts
        batches = prediction_batches(
            records,
            self.extractor,
            evalbatch=self.evalbatch // hosts.count,
            replicas=hosts.replicas,
            static=is_static(self.strategy),
            part=Part(hosts.index, hosts.index + 1, hosts.count),
        )
        for batch, ids in batches:
            for scores, pairs in zip(self._step(per_replica(self.strategy, batch)), ids, strict=True):
                values = tf.reshape(scores, [-1]).numpy()[: len(pairs)].tolist()
                for (qid, docid), score in zip(pairs, values, strict=True):
                    found.setdefault(qid, {})[docid] = score
            yield sum(map(len, ids))

    def _in_step(self, counts: Iterator[int]) -> Iterator[int]:
        """`counts`, and then 0 for as long as another host has more."""
        if self.hosts.count == 1:
            yield from counts
            return
        while self.hosts.most(int((count := next(counts, None)) is not None)):
            yield count or 0
