"""Scores of a run as a further feature: how features and a text reranker go together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rankcli.config.registry import option
from rankcli.data.features import FeatureRow
from rankcli.data.hashes import input_sha256
from rankcli.data.source import DatasetOptions
from rankcli.data.trec import read_run
from rankcli.errors import ConfigError, DataError


@dataclass(frozen=True, kw_only=True)
class ScoredOptions(DatasetOptions):
    """The options of every source of features."""

    scores: str | None = option(
        None,
        "a run, such as a text reranker's, whose score of each document is feature 1, before the others",
        path="file",
    )

    def named(self, made_of: str) -> str:
        """Return the name of the features, which depends on the run."""
        return f"{made_of}:scores:{input_sha256(self.scores)}" if self.scores else made_of

    def joined(self, rows: Iterator[FeatureRow]) -> Iterator[FeatureRow]:
        """Yield the rows with the scores, if there are any."""
        return _scored(rows, self.scores) if self.scores else rows


def checked_scores(options: ScoredOptions, path: str, width: int | None, scores: str | None) -> str | None:
    """Return the run of another file; ConfigError if a model, which reads `width` features, needs one and has none."""
    if scores and not options.scores:
        what = "the model's features have no scores of a run"
        raise ConfigError(what, where=scores, fix="leave --run out: --features has the candidates")
    if options.scores and not scores and width is not None:
        what = f"the model's first feature is a score, in training that of {options.scores}"
        raise ConfigError(what, where=path, fix="give --run, with the scores of these documents by the same reranker")
    return scores


def _scored(rows: Iterator[FeatureRow], path: str) -> Iterator[FeatureRow]:
    """Yield rows with the score as column 0; DataError for a document that the run lacks."""
    run: Any = read_run(path)
    qid, number = "", 0
    for row in rows:
        qid, number = row.qid, number + 1 if row.qid == qid else 1
        score = run.get(qid, {}).get(f"{qid}.{number}")
        if score is None:
            what = f"no score of document {f'{qid}.{number}'!r} for query {qid!r}"
            raise DataError(what, where=path, fix="rerank all documents of all queries: train, dev and test")
        yield row._replace(columns=[0, *(column + 1 for column in row.columns)], values=[score, *row.values])
