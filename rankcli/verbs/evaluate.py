"""Evaluate a run file with judgments, alone or compared with a baseline; or the test runs of a run directory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rankcli.config.metrics import canonical_names
from rankcli.data.files import check_apart, replacing
from rankcli.data.folds import read_ids
from rankcli.data.topics import read_judgments
from rankcli.data.trec import read_run
from rankcli.errors import ConfigError, DataError
from rankcli.evaluation.report import Evaluation, Stages, split_json
from rankcli.evaluation.significance import compare
from rankcli.evaluation.trec import Coverage, PerQuery, Qrels, Run, check_documents, check_metrics, coverage
from rankcli.evaluation.trec import evaluate as evaluate_run
from rankcli.log import warn
from rankcli.runs.listed import features_in
from rankcli.runs.tested import Tested, find_tested

METRICS = ("ndcg_cut_10", "map", "RR@10")
MANY = 0.1  # of the queries: from this share on, a warning says how to evaluate fewer


def evaluate(
    qrels: str | Path | None = None,
    run: str | Path | None = None,
    *,
    model: str | None = None,
    features: str | None = None,
    queries: str | Path | None = None,
    baseline: str | Path | None = None,
    metrics: Sequence[str] = (),
    relevance_level: int | None = None,
    per_query: str | Path | None = None,
) -> Evaluation | Stages:
    """Evaluate `run` with `qrels`, compare it with `baseline`, write each query's values to `per_query`.

    `queries` are those to evaluate: `qrels` (all that are judged), `run` (those of them that the run has) or a file of
    query ids. A judged query that is missing from a run counts as 0; queries without judgments are left out. Both give
    a warning.

    With `features`, the judgments are the grades in that file, which is read as the data of `model` are; then all its
    queries count. With a run directory `model`, its test queries with their judgments, its test run, metrics and
    relevance level are the defaults. Without `run`, `baseline` and `per_query`, all stages of its test are evaluated.
    """
    if per_query is not None:
        check_apart(per_query, qrels, run, features, baseline, queries, model)
    if features is not None and (qrels or not run):
        raise ConfigError("--features has the judgments for a --run: give that, and no --qrels")
    metrics = canonical_names(metrics)
    check_metrics(metrics, where="--metric")
    tested = find_tested(model) if model is not None else None
    if tested is None and not ((qrels or features) and run):
        raise ConfigError(
            "--qrels and --run are needed, or --model with a run directory", fix="see: rankcli evaluate --help"
        )
    evaluating = _Evaluating(tested, metrics, relevance_level)
    whole = tested is not None and not (run or baseline or per_query)
    path = run or (tested.path("reranked") if tested else "")
    first = read_run(path)
    graded = _grades(features, tested) if features is not None else None
    judged, chosen = evaluating.judged(qrels, queries, first, graded)
    if whole:
        return evaluating.stages(judged, chosen, advice=queries != "run")
    joined, values = evaluating(judged, first, path, advice=queries != "run")
    compared = None
    if baseline is not None:
        other = evaluating(judged, read_run(baseline), baseline, advice=queries != "run")[1]
        compared = compare(values, other)
    if per_query is not None:
        _write_per_query(per_query, values)
    return Evaluation(joined, values, compared, chosen)


class _Evaluating:
    """The measures of an evaluation and, where it is of a run directory, that directory."""

    def __init__(self, tested: Tested | None, metrics: Sequence[str], relevance_level: int | None) -> None:
        self.tested = tested
        own = tested.measures if tested else None
        self.metrics = metrics or (own.metrics.all if own else METRICS)
        self.level = relevance_level or (own.relevance_level if own else 1)

    def judged(
        self, path: str | Path | None, queries: str | Path | None, run: Run, graded: Qrels | None = None
    ) -> tuple[Qrels, str]:
        """Return the judgments of the queries to evaluate, and words that say which queries these are."""
        own = self.tested.qrels() if self.tested and graded is None else None
        qrels = graded or (read_judgments(str(path)) if path is not None or own is None else own)
        if queries is None and own is not None:
            return _part(qrels, own, str(path)), f"test queries of {self.tested.said}"  # type: ignore[union-attr]
        if queries is None or queries == "qrels":
            return qrels, "all that are judged"
        if queries == "run":
            return _part(qrels, (qid for qid, scores in run.items() if scores), "--run"), "those of the run"
        return _part(qrels, read_ids(queries), str(queries)), f"those of {queries}"

    def stages(self, judged: Qrels, chosen: str, advice: bool) -> Stages:
        """Evaluate the test runs of the run directory."""
        assert self.tested is not None
        stages, tested = self.tested.stages, self.tested
        values = {stage: self(judged, tested.run(stage), tested.path(stage), advice)[1] for stage in stages}
        return Stages(split_json(values), chosen)

    def __call__(self, judged: Qrels, run: Run, path: str | Path, advice: bool) -> tuple[Coverage, PerQuery]:
        """Evaluate a run, and warn of queries that the run or the judgments lack."""
        joined = coverage(judged, run, where=str(path))
        if self.tested is None:
            check_documents(judged, run, where=str(path))
        if joined.missing:
            loud = joined.missing > MANY * joined.judged
            warn(f"{path}: {_missing(joined)}{_advice(joined) if advice and loud else ''}")
        if joined.unjudged and self.tested is None:
            warn(f"{path}: {joined.unjudged} queries are not judged and are left out")
        return joined, evaluate_run(judged, run, self.metrics, self.level)


def _grades(path: str, tested: Tested | None) -> Qrels:
    """Return the grades in a file of features."""
    return features_in(path, tested.config if tested else None).qrels[""]


def _missing(joined: Coverage) -> str:
    return f"{joined.missing} of {joined.judged} judged queries have no retrieved document and count as 0"


def _advice(joined: Coverage) -> str:
    share = joined.missing / joined.judged
    return (
        f"\n  -> so {share:.0%} of every mean below are zeros; --queries run evaluates the queries of the run alone, "
        "--model RUN_DIR the test queries of a training"
    )


def _part(qrels: Qrels, qids: Iterable[str], where: str) -> Qrels:
    """Return the judgments of some queries; DataError if none of them is judged."""
    found = {qid: qrels[qid] for qid in qids if qid in qrels}
    if not found:
        raise DataError("none of these queries is judged", where=where, fix="check that both write query ids alike")
    return found


def _write_per_query(path: str | Path, values: PerQuery) -> None:
    """Write lines `metric <tab> query <tab> value`, as `trec_eval -q` prints them but with more digits."""
    with replacing(path) as stream:
        for metric, by_query in values.items():
            stream.writelines(f"{metric}\t{qid}\t{value:.6f}\n" for qid, value in by_query.items())
