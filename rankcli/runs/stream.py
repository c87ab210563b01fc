"""A run, checked once as a whole and then scored block by block, so that memory does not grow with its length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from rankcli.config.identity import digest, digest_of_items
from rankcli.data.hashes import input_sha256
from rankcli.data.joins import warn_of_training
from rankcli.data.source import Documents
from rankcli.data.trec import RunFile, Scattered, ranking, read_run
from rankcli.errors import DataError
from rankcli.log import warn
from rankcli.records.reader import SORT_PAIRS
from rankcli.records.texts import Features
from rankcli.shapes import FIRST_STAGE, Sample
from rankcli.storage.inputs import local_copy

BLOCK = SORT_PAIRS  # pairs that are tokenised together and sorted by length
LINES = 10 * BLOCK  # of the run, at most, in a block with few pairs to score


@dataclass(frozen=True)
class Inputs:
    """Texts and candidates to rerank, the name of the run in messages, and the texts of queries that were trained on.

    `run` has each query once, with its scores by document. It is iterated over several times. `content` is a hash of
    documents and features; empty for that of the documents.
    """

    store: Documents
    queries: Mapping[str, str]
    run: Iterable[tuple[str, Mapping[str, float]]]
    source: str
    trained: Mapping[str, str]
    features: Features | None = None
    content: str = ""


class RankedQuery(NamedTuple):
    """A query of a run: its first-stage scores, and the documents to score, best first."""

    qid: str
    scores: Mapping[str, float]
    top: tuple[str, ...]

    @property
    def sample(self) -> Sample:
        """The group to predict."""
        first_stage = tuple(self.scores[docid] for docid in self.top)
        return Sample(self.qid, self.top, (0.0,) * len(self.top), {FIRST_STAGE: first_stage})


@dataclass
class Counts:
    """The counts of a run; `pairs` are the lines to score."""

    queries: int = 0
    lines: int = 0
    pairs: int = 0


def run_in(path: str) -> Iterable[tuple[str, Mapping[str, float]]]:
    """Return the run of a file as `Inputs` needs it. A pipe can be read only once, so it is kept in memory."""
    return RunFile(path) if Path(local_copy(path)).is_file() else read_run(path).items()


def grouped(path: str) -> Iterable[tuple[str, Mapping[str, float]]]:
    """Return the run of a file query by query, after a look at all of its lines.

    If the lines of a query are scattered, the run is kept in memory.
    """
    return ordered(path)[0]


def ordered(path: str) -> tuple[Iterable[tuple[str, Mapping[str, float]]], list[str]]:
    """Return the run of a file as `grouped` does, and its query ids in order."""
    run = run_in(path)
    try:
        return run, [qid for qid, _ in run]
    except Scattered as error:
        whole = _whole(error, path)
        return whole, [qid for qid, _ in whole]


def _whole(error: Scattered, path: str) -> Iterable[tuple[str, Mapping[str, float]]]:
    warn(f"{error.where}: {error.what}; the whole run is held in memory (to sort it by query would avoid that)")
    return read_run(path).items()


def content_of(inputs: Inputs) -> str:
    """Return a hash of the run: of its file, or of what is in memory."""
    if isinstance(inputs.run, RunFile):
        return input_sha256(inputs.run.path)
    return digest_of_items(inputs.run)


def texts_of(inputs: Inputs, titles: bool) -> dict[str, str]:
    """Return hashes of the documents, with their features, and of the queries; with `titles` one of these, too."""
    found = {"docs": inputs.content or inputs.store.fingerprint, "queries": digest(dict(inputs.queries))}
    return {**found, **({"titles": inputs.store.titles} if titles else {})}


def survey(inputs: Inputs, depth: int | None) -> tuple[Inputs, Counts]:
    """Check the whole run before anything is scored. Return the inputs to read from, and their counts.

    DataError for an error anywhere in the run, and where no query or no document has a text. Warn of queries and
    documents without a text, and of queries that were trained on. If the lines of a query are scattered, the run is
    kept in memory.
    """
    try:
        return inputs, _survey(inputs, depth)
    except Scattered as error:
        whole = replace(inputs, run=_whole(error, inputs.source))
        return whole, _survey(whole, depth)


def blocks(inputs: Inputs, depth: int | None) -> Iterator[list[RankedQuery]]:
    """Yield the queries of a run in its order, in lists of about `BLOCK` pairs to score."""
    block: list[RankedQuery] = []
    pairs = lines = 0
    for qid, scores in inputs.run:
        known = scores.keys() - inputs.store.absent(scores) if qid in inputs.queries else ()
        block.append(RankedQuery(qid, scores, tuple(docid for docid in ranking(scores) if docid in known)[:depth]))
        pairs, lines = pairs + len(block[-1].top), lines + len(scores)
        if pairs >= BLOCK or lines >= LINES:
            yield block
            block, pairs, lines = [], 0, 0
    if block:
        yield block


@dataclass
class _Unknown:
    """The number of ids without a text, and the smallest of them."""

    count: int = 0
    example: str = ""

    def add(self, ids: set[str], count: int) -> None:
        if ids:
            self.count += count
            self.example = min(filter(None, (self.example, *ids)))


def _survey(inputs: Inputs, depth: int | None) -> Counts:
    counts, queries, documents = Counts(), _Unknown(), _Unknown()
    scored = {}
    for qid, scores in inputs.run:
        absent = inputs.store.absent(scores)
        counts.queries += 1
        counts.lines += len(scores)
        documents.add(absent, len(absent))
        if qid in inputs.queries:
            scored[qid] = inputs.queries[qid]
            counts.pairs += min(len(scores) - len(absent), depth or len(scores))
        else:
            queries.add({qid}, 1)
    _check(inputs, queries, counts.queries, "queries have no text", "query")
    _check(inputs, documents, counts.lines, "lines name a document without a text", "document")
    warn_of_training(inputs.trained, scored, inputs.source)
    return counts


def _check(inputs: Inputs, unknown: _Unknown, total: int, what: str, kind: str) -> None:
    example = f", for example {kind} {unknown.example!r}"
    if unknown.count == total:
        fix = "check that the files belong together"
        raise DataError(f"all of the run's {total} {what}{example}", where=inputs.source, fix=fix)
    if unknown.count:
        warn(f"{inputs.source}: {unknown.count} of {total} {what}{example}; they are not scored and keep their order")
