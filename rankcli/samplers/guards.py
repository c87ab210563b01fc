"""Bounds on the scores of negatives, against documents that may be relevant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rankcli.config.registry import option
from rankcli.config.types import NonNegativeFloat, Rate


@dataclass(frozen=True, kw_only=True)
class Guards:
    """Bounds on the score of a negative: whatever scores higher may be relevant, although nobody judged it.

    A document without a score passes. Of several relevant documents the lowest score counts; one without a score sets
    no bound.
    """

    max_score: float | None = option(None, "the highest score of a negative; default: no bound")
    margin: NonNegativeFloat | None = option(
        None, "a negative scores at least so much less than the group's relevant document; default: no bound"
    )
    relative_margin: Rate | None = option(
        None, "the same as a share of the relevant document's score: 0.05 leaves out what scores above 95 % of it"
    )

    @property
    def guarded(self) -> bool:
        """True if there is a bound."""
        return not self.max_score is self.margin is self.relative_margin is None

    def barred(self, scores: Mapping[str, float], positives: Iterable[str]) -> set[str]:
        """The documents that score too high to be negatives beside some relevant ones."""
        if not self.guarded:
            return set()
        each = [self.bounds(), *(self.bounds(scores[docid]) for docid in positives if docid in scores)]
        bounds = [bound for found in each for bound in found.values()]
        return {docid for docid, score in scores.items() if score > min(bounds)} if bounds else set()

    def bounds(self, positive: float | None = None) -> dict[str, float]:
        """The highest score of a negative by the option that sets it, beside a relevant document of a score."""
        found = {} if self.max_score is None else {"max_score": self.max_score}
        if positive is not None and self.margin is not None:
            found["margin"] = positive - self.margin
        if positive is not None and self.relative_margin is not None:
            found["relative_margin"] = positive - self.relative_margin * abs(positive)
        return found
