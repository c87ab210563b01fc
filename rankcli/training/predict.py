"""Scores of query-document pairs, from a TFRecord cache or from examples in memory."""

from __future__ import annotations

import itertools
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar

from rankcli.evaluation.interpolate import Scores
from rankcli.extractors.base import Extractor
from rankcli.log import Progress
from rankcli.records.interleave import Records, Stride, read_examples
from rankcli.records.reader import Rows, prediction_batches
from rankcli.rerankers.base import Reranker
from rankcli.shapes import Batch, Example
from rankcli.training.hosts import Hosts
from rankcli.training.step import prediction_step
from rankcli.training.strategy import is_static, per_replica

IN_FLIGHT = 2  # batches that a replica computes at once; a third one brought no speed
EVALBATCH = 64  # pairs per step when evalbatch is 0; larger batches brought no speed on a CPU


Made = TypeVar("Made")
Told = TypeVar("Told")
Scored = list[list[float]]  # of a replica's groups, [B][K]


class Scorer(ABC):
    """Scores caches with a reranker, on all hosts. Compiled steps are kept between calls."""

    def __init__(self, strategy: Any, extractor: Extractor, evalbatch: int) -> None:
        self.strategy, self.extractor, self.hosts = strategy, extractor, Hosts(strategy)
        replicas = strategy.num_replicas_in_sync
        self.evalbatch = -(-(evalbatch or EVALBATCH) // replicas) * replicas

    def scores(self, records: Records, label: str, on_batch: Callable[[], None] = lambda: None) -> Scores:
        """Return the scores of all pairs of a cache by query and document, float32, on every host.

        `on_batch` is called after every step and may raise. Each host reads a part of the queries.
        """
        part = Stride(self.hosts.index, self.hosts.index + 1, self.hosts.count)
        found: Scores = {}
        with Progress(records.manifest.documents, label, "pairs") as bar:
            for done in self.in_step(self.scored(read_examples(records, part=part), found)):
                bar.advance(done)
                on_batch()
        return self.gathered(found)

    @abstractmethod
    def scored(self, examples: Iterator[Example], found: Scores) -> Iterator[int]:
        """Score this host's examples into `found`. Yield the number of pairs that each batch has completed."""

    def in_step(self, counts: Iterator[int]) -> Iterator[int]:
        """Yield `counts`, and then 0 for as long as another host has more."""
        if self.hosts.count == 1:
            yield from counts
            return
        while self.hosts.max_over_hosts(int((count := next(counts, None)) is not None)):
            yield count or 0

    def gathered(self, found: Scores) -> Scores:
        """Return the scores that all hosts found."""
        for content in self.hosts.all_gather(json.dumps(found).encode()) if self.hosts.count > 1 else ():
            found.update(json.loads(content))
        return found

    def overlapped(
        self, compute: Callable[[Any], Made], batches: Iterable[tuple[Any, Told]]
    ) -> Generator[tuple[Made, Told], None, None]:
        """Yield what `compute` makes of `batches`, in their order.

        A single replica computes several batches at once: a batch uses the cores that another one leaves idle, between
        its operations and at its end.
        """
        if self.strategy.num_replicas_in_sync > 1:
            yield from ((compute(batch), told) for batch, told in batches)
            return
        pending: deque[tuple[Future[Made], Told]] = deque()
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            for batch, told in batches:
                pending.append((pool.submit(compute, batch), told))
                if len(pending) > IN_FLIGHT:  # the last one is queued
                    future, done = pending.popleft()
                    yield future.result(), done
            for future, done in pending:
                yield future.result(), done


class Predictor(Scorer):
    """Scores pairs of query and document, each computed by itself.

    A reranker that looks at the documents of a query together needs `whole_groups`.
    """

    def __init__(
        self, strategy: Any, reranker: Reranker, extractor: Extractor, evalbatch: int = 0, whole_groups: bool = False
    ) -> None:
        super().__init__(strategy, extractor, evalbatch)
        self._whole_groups = whole_groups
        self.step = prediction_step(strategy, reranker)

    def score(
        self,
        examples: Iterable[Example],
        bar: Progress,
        known: Sequence[Scores] = (),
        keep: Callable[[Scores], None] = lambda scores: None,
    ) -> Scores:
        """Return the scores of all pairs of the examples of all hosts, on every host.

        `known` are the scores of this host's first batches, if they were computed before; `keep` is given those of
        every other one. Several hosts make the same number of steps; the last ones of a host may be empty.
        """
        found: Scores = {}
        for done in self.in_step(self.scored(iter(examples), found, known, keep)):
            bar.advance(done)
        return self.gathered(found)

    def scored(
        self,
        examples: Iterator[Example],
        found: Scores,
        known: Sequence[Scores] = (),
        keep: Callable[[Scores], None] = lambda scores: None,
    ) -> Iterator[int]:
        """Score this host's examples into `found`, batch by batch. Yield the number of pairs of each batch."""
        batches = prediction_batches(
            examples,
            self.extractor,
            evalbatch=self.evalbatch // self.hosts.count,
            replicas=self.hosts.replicas,
            static=is_static(self.strategy),
            whole_groups=self._whole_groups,
        )
        for scores in known:
            _add(found, scores)
        left = itertools.islice(batches, len(known), None)
        with closing(batches), closing(self.overlapped(self._compute, left)) as computed:
            for values, rows in computed:
                scores = _by_ids(values, rows)
                keep(scores)
                _add(found, scores)
                yield sum(map(len, scores.values()))

    def _compute(self, batch: list[Batch]) -> list[Scored]:
        scores = self.step(per_replica(self.strategy, batch))
        return [own.numpy().tolist() for own in self.strategy.experimental_local_results(scores)]


def _by_ids(values: list[Scored], rows: Rows) -> Scores:
    """The scores of a batch by query and document."""
    scores: Scores = {}
    for (qid, docids), of_group in itertools.chain.from_iterable(map(zip, rows, values)):
        scores.setdefault(qid, {}).update(zip(docids, of_group, strict=False))  # the rest is padding
    return scores


def _add(found: Scores, scores: Scores) -> None:
    for qid, by_document in scores.items():
        found.setdefault(qid, {}).update(by_document)
