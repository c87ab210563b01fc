"""First-stage, reranked and interpolated runs of one split, and their metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankcli.data.trec import write_qrels, write_run
from rankcli.evaluation.calibration import calibration
from rankcli.evaluation.interpolate import Scores, best_alpha, interpolate
from rankcli.evaluation.report import split_json
from rankcli.evaluation.runs import rerank, top
from rankcli.evaluation.trec import Run, evaluate
from rankcli.runs.about import Measures

RUNS = {
    "first_stage": "test.first_stage.run",
    "reranked": "test.run",
    "interpolated": "test.interpolated.run",
    "mixed": "test.mixed.run",  # where there is a mixture
}
QRELS = "test.qrels"


@dataclass(frozen=True)
class Judgments:
    """Judgments, metrics and relevance level of an evaluation. The first metric chooses alpha."""

    qrels: Mapping[str, Mapping[str, int]]
    metrics: tuple[str, ...]
    relevance_level: int


def judgments(qrels: Mapping[str, Mapping[str, int]], measures: Measures) -> Judgments:
    """Combine the judgments of some queries with the measures of a run."""
    return Judgments(qrels, measures.metrics.all, measures.relevance_level)


def write_test(folder: Path, runs: Mapping[str, Run], judged: Judgments) -> None:
    """Write the test runs, one file per stage, and the judgments of the test queries."""
    write_qrels(folder / QRELS, judged.qrels)
    for stage, name in RUNS.items():
        if stage in runs:
            write_run(folder / name, runs[stage], tag=f"rankcli-{stage}")
        else:  # of another mixture, before
            (folder / name).unlink(missing_ok=True)


def run_files(result: Mapping[str, Any]) -> list[str]:
    """Return the files of the judgments and of the test runs of a result."""
    return [QRELS, *(name for stage, name in RUNS.items() if stage in result["splits"]["test"])]


def choose_alpha(judged: Judgments, first: Run, scores: Scores, depth: int) -> float:
    """Return the weight of the reranker that is best on these (dev) queries by the first metric."""
    return best_alpha(judged.qrels, top(first, depth), scores, judged.metrics[0], judged.relevance_level)


def stages(first: Run, scores: Scores, alpha: float, depth: int) -> dict[str, Run]:
    """Return the three runs of one split. In each, documents below `depth` follow in first-stage order."""
    mixed = interpolate(top(first, depth), scores, alpha)
    return {"first_stage": first, "reranked": rerank(first, scores), "interpolated": rerank(first, mixed)}


def summary(judged: Judgments, runs: Mapping[str, Run]) -> dict[str, Any]:
    """Return one split of `result.json`: queries, the mean of every metric per stage, and p against the first stage."""
    return split_json(
        {stage: evaluate(judged.qrels, run, judged.metrics, judged.relevance_level) for stage, run in runs.items()}
    )


def probabilities(
    dev: Mapping[str, Scores], test: Mapping[str, Scores], on_dev: Judgments, on_test: Judgments
) -> dict[str, Any]:
    """Return the calibration of every stage: fitted on the scores of dev queries, measured on those of the test."""
    found = {
        stage: calibration((dev[stage], on_dev.qrels), (test[stage], on_test.qrels), on_dev.relevance_level)
        for stage in test
    }
    return {stage: each for stage, each in found.items() if each is not None}
