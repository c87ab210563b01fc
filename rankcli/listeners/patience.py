"""How long a listener goes on without a better value before it votes to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rankcli.listeners.base import Vote


@dataclass
class Patience:
    """Counts the values in a row that did not better `mark` by more than `min_delta`.

    `better` says which values are: those above or those below. With no `limit` there is no vote.
    """

    better: Literal["above", "below"]
    limit: int | None
    min_delta: float
    mark: float | None = None
    waited: int = 0

    def see(self, value: float) -> None:
        """Count a value, or begin anew from it where it is better."""
        if self.mark is None or self._betters(value, self.mark):
            self.mark, self.waited = value, 0
        else:
            self.waited += 1

    def _betters(self, value: float, mark: float) -> bool:
        return value > mark + self.min_delta if self.better == "above" else value < mark - self.min_delta

    def vote(self) -> Vote:
        """Stop when the limit is reached, do not stop before; no decision without one."""
        if self.limit is None:
            return Vote.NO_DECISION
        return Vote.STOP if self.waited >= self.limit else Vote.DONT_STOP

    def state(self) -> dict[str, Any]:
        """The part that a checkpoint keeps."""
        return {"mark": self.mark, "waited": self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self.mark, self.waited = state["mark"], state["waited"]
