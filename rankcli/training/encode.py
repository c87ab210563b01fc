"""Scores of rerankers that compare vectors: every query and every document is encoded once, whatever the run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from rankcli.backend import tf
from rankcli.evaluation.interpolate import Scores
from rankcli.extractors.base import Extractor, sequence_spec
from rankcli.records.distinct import Distinct, Division, Part, TextBatch, text_batches
from rankcli.records.interleave import Records, read_examples
from rankcli.records.reader import NOTHING_KNOWN, Known
from rankcli.records.vectors import Vectors, temporary_vectors
from rankcli.rerankers.base import Reranker
from rankcli.shapes import Example, Floats, Ints, Layout, TokenSequence
from rankcli.training.predict import Predictor, Scorer
from rankcli.training.strategy import Traced, is_static, per_replica

WINDOW = 1024  # groups whose sequences are looked up together
COMPARED = 4096  # pairs at once: their vectors are in memory,
COMPARED_BYTES = 1 << 26  # as far as they fit: a text of late interaction has a vector per token


class Encoded(NamedTuple):
    """The vectors of some texts of a field, and the number of pairs that can be scored now."""

    field: str
    numbers: list[int]
    vectors: Floats
    pairs: int


Windows = Iterable[Sequence[TokenSequence]]


def _fill_nothing(field: str, windows: Windows, total: int) -> None:
    """Do nothing: no base vectors are kept."""


class Kept(NamedTuple):
    """Base vectors that are kept: the look-up of each field, and the function that makes what is missing."""

    known: Known = NOTHING_KNOWN
    fill: Callable[[str, Windows, int], None] = _fill_nothing


NOTHING_KEPT = Kept()


class Stage(NamedTuple):
    """One stage of a base, without dropout; those of equal functions are equal."""

    function: Callable[[Any, None], Any]

    def __call__(self, value: Any) -> Any:
        """Compute the stage."""
        return self.function(value, None)


class VectorScorer(Scorer):
    """Scores pairs with a reranker that has `towers`. A batch has `evalbatch` texts of one field.

    Base vectors that are `kept` are looked up, and not computed.
    """

    def __init__(
        self,
        strategy: Any,
        reranker: Reranker,
        extractor: Extractor,
        evalbatch: int = 0,
        kept: Kept = NOTHING_KEPT,
    ) -> None:
        super().__init__(strategy, extractor, evalbatch)
        fields = {sequence_spec(extractor, field).level: field for field in reranker.towers}
        self.query, self.doc = fields["query"], fields["doc"]
        self.division = Division(self.batch, self.hosts.replicas, is_static(strategy))
        self._reranker, self.kept = reranker, kept
        towers: dict[str, Any] = {**reranker.towers}
        towers |= {field: Stage(reranker.bases[field].finish) for field in kept.known}
        self.steps = traced_once(strategy, towers)

    @property
    def batch(self) -> int:
        """The number of texts that this host encodes in one step."""
        return int(self.evalbatch // self.hosts.count)

    def scores(self, records: Records, label: str, on_batch: Callable[[], None] = lambda: None) -> Scores:
        """Return the scores of all pairs of a cache, after what is missing of kept vectors is made."""
        keep_vectors(self.kept, records, self.extractor)
        return super().scores(records, label, on_batch)

    def scored(self, examples: Iterator[Example], found: Scores) -> Iterator[int]:
        """Score this host's examples into `found`. Yield the number of pairs that each batch has completed."""
        distinct, left = Distinct(self.extractor, self.query, self.doc), 0
        with temporary_vectors((self.query, self.doc)) as vectors:
            for encoded in self.encode(distinct.parts(examples)):
                vectors[encoded.field].put(encoded.numbers, encoded.vectors)
                left -= encoded.pairs
                yield encoded.pairs
            for qid, docids in distinct.groups:
                queries = np.full(len(docids), distinct.queries[qid], np.int64)
                docs = np.array([distinct.docs[docid] for docid in docids], np.int64)
                found.setdefault(qid, {}).update(zip(docids, self.compare(queries, docs, vectors), strict=True))
                left += len(docids)
        yield left  # pairs of documents that an earlier part had

    def encode(self, parts: Iterable[Part], skip: int = 0) -> Iterator[Encoded]:
        """Yield the vectors of this host's texts, batch by batch, without the first `skip` batches."""
        batches = text_batches(parts, self.extractor, self.division, self.kept.known)
        with closing(batches):
            yield from self.computed(itertools.islice(batches, skip, None))

    def computed(self, batches: Iterable[TextBatch]) -> Iterator[Encoded]:
        """Yield the vectors of batches."""
        with closing(self.overlapped(self._compute, ((batch, batch) for batch in batches))) as computed:
            for vectors, batch in computed:
                rows = [made[: len(own)] for made, own in zip(vectors, batch.numbers, strict=True)]
                yield Encoded(batch.field, sum(batch.numbers, []), np.concatenate(rows), batch.pairs)

    def compare(self, queries: Ints, docs: Ints, vectors: Mapping[str, Vectors]) -> list[float]:
        """Return the score of each pair of a query and a document, given by their numbers."""
        scores: list[float] = []
        widest = 4 * max(vectors[self.query].width, vectors[self.doc].width, 1)
        at_once = max(1, min(COMPARED, COMPARED_BYTES // widest))
        for start in range(0, len(queries), at_once):
            here = slice(start, start + at_once)
            with tf.device("/cpu:0"):
                own, others = (
                    tf.constant(vectors[field].get(numbers[here]))
                    for field, numbers in ((self.query, queries), (self.doc, docs))
                )
                scores += self._reranker.compare(own, others).numpy().tolist()
        return scores

    def _compute(self, batch: TextBatch) -> list[Floats]:
        made = self.steps[batch.field](per_replica(self.strategy, batch.layouts))
        return [vectors.numpy() for vectors in self.strategy.experimental_local_results(made)]


def keep_vectors(kept: Kept, records: Records, extractor: Extractor) -> None:
    """Make the missing base vectors of all texts of a cache."""
    for field in kept.known:
        extracted = (extractor.extract(example)[field] for example in read_examples(records))
        manifest = records.manifest
        level = sequence_spec(extractor, field).level
        kept.fill(field, _sequences(extracted), manifest.samples if level == "query" else manifest.documents)


def _sequences(extracted: Iterator[Any]) -> Iterator[list[TokenSequence]]:
    while groups := list(itertools.islice(extracted, WINDOW)):
        yield [sequence for group in groups for sequence in group]


def scorer(
    strategy: Any,
    reranker: Reranker,
    extractor: Extractor,
    evalbatch: int = 0,
    whole_groups: bool = False,
    kept: Kept = NOTHING_KEPT,
) -> Predictor | VectorScorer:
    """Return the scorer of a reranker. One with several sequences for a document is given pairs."""
    if reranker.towers and all(sequence_spec(extractor, field).most == 1 for field in reranker.towers):
        return VectorScorer(strategy, reranker, extractor, evalbatch, kept)
    return Predictor(strategy, reranker, extractor, evalbatch, whole_groups)


def traced_once(strategy: Any, functions: Mapping[str, Any]) -> dict[str, Traced]:
    """Return a graph of each function, over all replicas; equal functions share one."""
    graphs = {function: Traced(strategy, _on_replicas(strategy, function)) for function in functions.values()}
    return {field: graphs[function] for field, function in functions.items()}


def _on_replicas(strategy: Any, function: Any) -> Any:
    def encode(layout: Layout) -> Any:
        return strategy.run(function, args=(layout,))

    return encode
