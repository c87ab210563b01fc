"""Gains and losses of single queries against the first stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from rankcli.report.numbers import finite


class Change(NamedTuple):
    """One query's value of the metric before and after."""

    qid: str
    before: float
    after: float

    @property
    def by(self) -> float:
        """The difference, after minus before."""
        return self.after - self.before


@dataclass(frozen=True)
class Gains:
    """The changes of all queries, from the largest gain to the largest loss."""

    changes: tuple[Change, ...]

    @classmethod
    def of(cls, before: Mapping[str, float], after: Mapping[str, float]) -> Gains:
        """Compare the queries that have a finite value in both."""
        pairs = ((qid, finite(before[qid]), finite(after.get(qid))) for qid in before)
        found = [Change(qid, was, is_now) for qid, was, is_now in pairs if was is not None and is_now is not None]
        return cls(tuple(sorted(found, key=lambda change: (-change.by, change.qid))))

    @property
    def wins(self) -> int:
        """Queries with a higher value than before."""
        return sum(change.by > 0 for change in self.changes)

    @property
    def losses(self) -> int:
        """Queries with a lower value than before."""
        return sum(change.by < 0 for change in self.changes)

    @property
    def ties(self) -> int:
        """Queries with an equal value."""
        return len(self.changes) - self.wins - self.losses

    def largest(self, n: int) -> tuple[Change, ...]:
        """Return at most `n` gains, the largest first."""
        return tuple(change for change in self.changes[:n] if change.by > 0)

    def worst(self, n: int) -> tuple[Change, ...]:
        """Return at most `n` losses, the largest first."""
        found = sorted(self.changes, key=lambda change: (change.by, change.qid))[:n]
        return tuple(change for change in found if change.by < 0)
