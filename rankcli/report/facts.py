"""The content of the page, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rankcli.report.gains import Gains
from rankcli.report.history import RunHistory, Series
from rankcli.report.timing import TimeShare, parts

STAGES = {"first_stage": "First stage", "reranked": "Reranked", "interpolated": "Interpolated", "mixed": "Mixed"}


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One of all folds: the path of its own page relative to this one, and its result."""

    name: str
    page: str
    run_id: object
    iteration: object
    alpha: object


class Ranked(NamedTuple):
    """A document at a rank: its id, its grade (None if it is not judged) and its text."""

    docid: str
    grade: int | None
    text: str


class Ranking(NamedTuple):
    """The first documents of a query before and after a stage."""

    qid: str
    stage: str
    before: Sequence[Ranked]
    after: Sequence[Ranked]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A finished run.

    `result` is the content of `result.json`, `run` that of `run.json`. `values` has, by stage, the value of every test
    query in `metric`, which chose the weights; `queries` has their texts. `summary` are names and values at the top of
    the page, `counts` those of the data, `options` lines of YAML. `written` is the time of the page, `warnings` are
    those of the run, `rates` the learning rates of each optimizer group by iteration, at many steps. Anything may be
    empty.
    """

    name: str
    metric: str
    result: Mapping[str, Any]
    values: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    queries: Mapping[str, str] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    history: RunHistory = RunHistory()
    summary: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    options: Sequence[str] = ()
    folds: Sequence[Fold] = ()
    written: str = ""
    warnings: Sequence[str] = ()
    rates: Mapping[str, Series] = field(default_factory=dict)
    rankings: Sequence[Ranking] = ()

    def gains(self, stage: str) -> Gains | None:
        """Return the change of every test query by a stage; None where values are missing."""
        if "first_stage" not in self.values or stage not in self.values:
            return None
        return Gains.of(self.values["first_stage"], self.values[stage])

    @property
    def time(self) -> list[TimeShare]:
        """The parts of the time, the longest first."""
        return parts(self.history, self.result)
