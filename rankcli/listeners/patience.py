"""The number of values without an improvement after which a listener votes to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rankcli.listeners.base import Vote


@dataclass
class Patience:
    """Counts the values in a row that did not improve on `mark` by more than `min_delta`.

    `better` is the direction: `above` or `below`. Without `limit`, there is no vote.
    """

    better: Literal["above", "below"]
    limit: int | None
    min_delta: float
    mark: float | None = None
    waited: int = 0

    def see(self, value: float) -> None:
        """Count a value. A better one becomes the mark and resets the count."""
        if self.mark is None or self._betters(value, self.mark):
            self.mark, self.waited = value, 0
        else:
            self.waited += 1

    def _betters(self, value: float, mark: float) -> bool:
        return value > mark + self.min_delta if self.better == "above" else value < mark - self.min_delta

    def vote(self) -> Vote:
        """Vote to stop when the limit is reached, not to stop before; no decision without a limit."""
        if self.limit is None:
            return Vote.NO_DECISION
        return Vote.STOP if self.waited >= self.limit else Vote.DONT_STOP

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"mark": self.mark, "waited": self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `state` returned."""
        mark = state["mark"]
        self.mark, self.waited = None if mark is None else float(mark), int(state["waited"])
