"""First stage, reranked and interpolated on one split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rankcli.evaluation.interpolate import Scores, best_alpha, interpolate
from rankcli.evaluation.report import split_json
from rankcli.evaluation.runs import rerank, top
from rankcli.evaluation.trec import Run, evaluate


@dataclass(frozen=True)
class Judgments:
    """What runs are judged by; the first metric chooses."""

    qrels: Mapping[str, Mapping[str, int]]
    metrics: tuple[str, ...]
    relevance_level: int


def choose_alpha(judgments: Judgments, first: Run, scores: Scores, depth: int) -> float:
    """The weight of the reranker that is best on these (dev) queries by the first metric."""
    return best_alpha(judgments.qrels, top(first, depth), scores, judgments.metrics[0], judgments.relevance_level)


def stages(first: Run, scores: Scores, alpha: float, depth: int) -> dict[str, Run]:
    """The three runs of one split; documents below `depth` follow in first-stage order in each."""
    mixed = interpolate(top(first, depth), scores, alpha)
    return {"first_stage": first, "reranked": rerank(first, scores), "interpolated": rerank(first, mixed)}


def summary(judgments: Judgments, runs: Mapping[str, Run]) -> dict[str, Any]:
    """One split of `result.json`: queries, the mean of every metric per stage, and p against the first stage."""
    return split_json(
        {
            stage: evaluate(judgments.qrels, run, judgments.metrics, judgments.relevance_level)
            for stage, run in runs.items()
        }
    )
