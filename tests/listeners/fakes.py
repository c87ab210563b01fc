"""A training that is not there: listeners are told what a test says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rankcli.config.schema import Metrics
from rankcli.evaluation.interpolate import Scores
from rankcli.listeners.base import DEV, ListenerContext, Validation

QRELS = {"q1": {"a": 1}, "q2": {"d": 1}}
FIRST = {"q1": {"a": 1.0, "b": 2.0, "c": 3.0}, "q2": {"d": 3.0, "e": 2.0, "f": 1.0}}  # RR@10 1/3 and 1
GOOD = {"q1": {"a": 3.0, "b": 2.0, "c": 1.0}, "q2": {"d": 3.0, "e": 2.0, "f": 1.0}}  # 1 and 1
MIDDLE = {"q1": {"a": 2.5, "b": 3.0, "c": 1.0}, "q2": {"d": 3.0, "e": 2.0, "f": 1.0}}  # 1/2 and 1
BAD = {"q1": {"a": 1.0, "b": 2.0, "c": 3.0}, "q2": {"d": 1.0, "e": 2.0, "f": 3.0}}  # 1/3 and 1/3
METRICS = Metrics(optimize="RR@10", report=("map",))


class Faked:
    """Gives dev sets the scores it is told to, and notes what is kept."""

    def __init__(
        self, starts: Mapping[str, int] | None = None, equal_losses: Mapping[str, float] | None = None
    ) -> None:
        self.starts, self.equal_losses = starts or {}, equal_losses or {}
        self.now: Scores = GOOD
        self.kept: list[str] = []

    def scores(self, name: str) -> Scores:
        return self.now

    def keep(self, path: Path) -> None:
        self.kept.append(str(path))


def context(out: Path, **changed: Any) -> ListenerContext:
    """A context with the dev sets `dev` and `news`, which are alike."""
    dev = Validation(None, QRELS, FIRST, 1, METRICS)  # type: ignore[arg-type]
    given = {"name": "it", "where": "trainer.listeners.0", "out": out, "dev": {DEV: dev, "news": dev}, "iterations": 9}
    return ListenerContext(**{**given, **changed})
