"""Write a teacher's scores, of a model, of files, or of several teachers together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankcli.data.documents import open_store
from rankcli.data.files import check_apart, replacing
from rankcli.data.lines import start_of
from rankcli.data.mined_rows import pairs_of
from rankcli.data.scales import SCALES
from rankcli.data.scores import read_scores
from rankcli.data.source import Documents
from rankcli.data.topics import read_topics
from rankcli.data.trec import Run, RunFile, write_query
from rankcli.errors import ConfigError, DataError
from rankcli.log import warn
from rankcli.runs.stream import Inputs, grouped
from rankcli.storage.places import local_root
from rankcli.verbs.rerank import Reranking

TAG = "rankcli-taught"
Scored = tuple[str, Mapping[str, float]]


def teach(
    *,
    output: str | Path,
    model: str | None = None,
    scores: Sequence[str] = (),
    docs: str | None = None,
    queries: str | None = None,
    run: str | None = None,
    topics: Sequence[str] = (),
    scale: str = "none",
    shares: Sequence[float] = (),
    weights: str = "best",
    evalbatch: int = 0,
    amp: str = "none",
    strategy: str = "auto",
) -> dict[str, Any]:
    """Write a run with the sum of all teachers' scores, each scaled and then multiplied by its share.

    Teachers are `model`, which scores the pairs of `run` (a TREC run or mined rows), and the files `scores`. A pair
    that one of them did not score is left out.
    """
    shares = _checked(model, scores, shares, docs, queries, run)
    reranking = Reranking(model, weights, evalbatch, amp, strategy) if model else None
    check_apart(output, docs, queries, run, *scores, *([reranking.model.path] if reranking else []))
    others = [read_scores(path) for path in (scores if model else scores[1:])]
    mixed = _Mixed(others, scale, shares)
    if reranking is None:
        first = read_scores(scores[0]) if start_of(scores[0]).lstrip().startswith(b"{") else None
        mixed(grouped(scores[0]) if first is None else first.items(), output, scores[0])
    else:
        assert docs and queries and run
        pairs = _Known(_pairs_in(run), read_topics(queries, None, topics), open_store(docs, None, local_root()), run)
        inputs = Inputs(pairs.store, pairs.topics, pairs, run, trained={})
        reranking.score(inputs, output, None, lambda made: mixed(RunFile(made), output, run))
    result = {"output": str(output), "teachers": len(shares), **vars(mixed.counts)}
    text = f"{output}: {mixed.counts.pairs} pairs of {mixed.counts.queries} queries, scored by {_teachers(len(shares))}"
    return {"result": result, "text": text}


def _teachers(count: int) -> str:
    return "one teacher" if count == 1 else f"{count} teachers"


def _checked(model: str | None, scores: Sequence[str], shares: Sequence[float], *texts: str | None) -> Sequence[float]:
    """The shares of the teachers; ConfigError for options that do not go together."""
    teachers = len(scores) + bool(model)
    if not teachers:
        raise ConfigError("there is no teacher", fix="give --model, --scores or both")
    if model and not all(texts):
        raise ConfigError("--model scores the pairs of a run: give --docs, --queries and --run")
    if not model and any(texts):
        raise ConfigError("--docs, --queries and --run are read by a --model alone")
    if shares and len(shares) != teachers:
        raise ConfigError(f"--shares must have a number for each of the {teachers} teachers, the model's first")
    return shares or [1 / teachers] * teachers


def _pairs_in(path: str) -> Iterable[Scored]:
    return pairs_of(path).items() if start_of(path).lstrip().startswith(b"{") else grouped(path)


@dataclass(frozen=True)
class _Known:
    """The pairs of a run that have texts; DataError for none."""

    run: Iterable[Scored]
    topics: Mapping[str, str]
    store: Documents
    source: str

    def __iter__(self) -> Iterator[Scored]:
        found = False
        for qid, scores in self.run:
            absent = self.store.absent(scores) if qid in self.topics else scores.keys()
            if known := {docid: score for docid, score in scores.items() if docid not in absent}:
                found = True
                yield qid, known
        if not found:
            what = "no pair has texts in these documents and queries"
            raise DataError(what, where=self.source, fix="check that the files belong together")


@dataclass
class _Counts:
    queries: int = 0
    pairs: int = 0
    left_out: int = 0


class _Mixed:
    """Writes the scores of a first teacher mixed with those of others."""

    def __init__(self, others: Sequence[Run], scale: str, shares: Sequence[float]) -> None:
        self.others, self.scale, self.shares = others, SCALES[scale], shares
        self.counts = _Counts()

    def __call__(self, first: Iterable[Scored], output: str | Path, where: str) -> None:
        with replacing(output) as stream:
            for qid, scores in first:
                taught = self._of_query([scores, *(other.get(qid, {}) for other in self.others)])
                self.counts.left_out += len(scores) - len(taught)
                self.counts.pairs += len(taught)
                self.counts.queries += bool(taught)
                write_query(stream, qid, taught, TAG)
            if not self.counts.pairs:
                fix = "check that they write ids alike"
                raise DataError("no pair of it is scored by all teachers", where=where, fix=fix)
        if self.counts.left_out:
            warn(f"{where}: {self.counts.left_out} pairs are left out, because a teacher did not score them")

    def _of_query(self, teachers: Sequence[Mapping[str, float]]) -> dict[str, float]:
        first, *others = teachers
        docids = [docid for docid in first if all(docid in other for other in others)]
        scaled = [self.scale({docid: scores[docid] for docid in docids}) for scores in teachers]
        pairs = list(zip(self.shares, scaled, strict=True))
        return {docid: sum(share * scores[docid] for share, scores in pairs) for docid in docids}
