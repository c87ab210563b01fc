"""Evaluations for people and programs: aligned tables for a terminal, objects for `--json` and `result.json`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rankcli.evaluation.ablation import ablation_table
from rankcli.evaluation.significance import PairedTest, compare
from rankcli.evaluation.trec import Coverage, PerQuery, means

SCHEMA_VERSION = 1
FIRST_STAGE, AFTER = "first_stage", ("reranked", "interpolated", "mixed")


@dataclasses.dataclass(frozen=True, slots=True)
class Evaluation:
    """One run evaluated; `comparisons` with a baseline, if there is one, by metric. `chosen` says which queries these
    are.
    """

    coverage: Coverage
    values: PerQuery
    comparisons: dict[str, PairedTest] | None = None
    chosen: str = "all that are judged"

    def to_json(self) -> dict[str, Any]:
        """The object that `rankcli evaluate --json` prints; without a baseline each metric has its mean only."""
        if self.comparisons is None:
            metrics: dict[str, Any] = {metric: {"mean": mean} for metric, mean in means(self.values).items()}
        else:
            metrics = {
                metric: {**dataclasses.asdict(found), "delta": found.delta}
                for metric, found in self.comparisons.items()
            }
        counts = {"queries": self.coverage.judged, "queries_are": self.chosen}
        return {"schema_version": SCHEMA_VERSION, **counts, "metrics": metrics}

    def table(self) -> str:
        """The same as an aligned table."""
        queries = f"{self.coverage.judged} queries ({self.chosen})"
        if self.comparisons is None:
            rows = [[metric, _value(mean)] for metric, mean in means(self.values).items()]
            return f"{_aligned(['metric', 'mean'], rows)}\n{queries}"
        header = ["metric", "base", "run", "delta", "p", "p_rand", "p_holm", "wins", "ties", "losses"]
        table = _aligned(header, [[metric, *_row(found)] for metric, found in self.comparisons.items()])
        return f"{table}\n{queries}; p: paired t-test, p_rand: sign flips, p_holm: p over {len(self.values)} metrics"


@dataclasses.dataclass(frozen=True, slots=True)
class Stages:
    """The stages of a test evaluated, as `split_json` gives them. `chosen` says which queries these are."""

    split: Mapping[str, Any]
    chosen: str

    def to_json(self) -> dict[str, Any]:
        """The object that `rankcli evaluate --model RUN_DIR --json` prints."""
        return {"schema_version": SCHEMA_VERSION, "queries_are": self.chosen, **self.split}

    def table(self) -> str:
        """The same as an aligned table."""
        return f"{split_table(self.split)}; queries: {self.chosen}"


def split_json(stages: Mapping[str, PerQuery]) -> dict[str, Any]:
    """One split of `result.json` from the values of `first_stage` and, if given, of each later stage.

    Means by stage and metric; `p`, and `p_holm` over all metrics, by metric and stage, against the first stage.
    """
    first = stages[FIRST_STAGE]
    compared = {stage: compare(stages[stage], first) for stage in AFTER if stage in stages}
    return {
        "queries": len(next(iter(first.values()))),
        **{stage: means(values) for stage, values in stages.items()},
        "p": {metric: {stage: by[metric].p for stage, by in compared.items()} for metric in first},
        "p_holm": {metric: {stage: by[metric].p_holm for stage, by in compared.items()} for metric in first},
    }


def split_table(split: Mapping[str, Any]) -> str:
    """The result of `split_json` as a table: a row per metric, with the change and the adjusted p of each stage.

    Where there is a mixture, it stands in the place of the interpolated run, so that lines stay short.
    """
    after = [stage for stage in AFTER if stage in split and not (stage == "interpolated" and "mixed" in split)]
    p = "p_holm" if "p_holm" in split else "p"  # a result.json of an older version has no p_holm
    header = ["metric", "first"]
    for stage in after:
        header += [stage, "delta", p]
    rows = []
    for metric, first in split[FIRST_STAGE].items():
        row = [metric, _value(first)]
        for stage in after:
            mean = split[stage][metric]
            row += [_value(mean), _delta(mean - first), _probability(split[p][metric][stage])]
        rows.append(row)
    adjusted = ", adjusted by Holm" if p == "p_holm" else ""
    return f"{_aligned(header, rows)}\n{split['queries']} queries; {p}: paired t-test against the first stage{adjusted}"


def stages_text(stages: Sequence[Mapping[str, Any]]) -> str:
    """Return the stages of a mixture as an aligned table."""
    header, *rows = ablation_table(stages)
    return _aligned(header, rows)


def _row(found: PairedTest) -> list[str]:
    numbers = [_value(found.baseline), _value(found.mean), _delta(found.delta)]
    probabilities = [_probability(p) for p in (found.p, found.p_rand, found.p_holm)]
    return [*numbers, *probabilities, str(found.wins), str(found.ties), str(found.losses)]


def _value(number: float) -> str:
    return f"{number:.4f}"


def _delta(number: float) -> str:
    return f"{round(number, 4) + 0.0:+.4f}"  # never -0.0000


def _probability(p: float) -> str:
    return f"{p:.4f}" if p >= 0.0001 else "<.0001"


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of aligned columns: the first to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in (header, *rows)
    )
