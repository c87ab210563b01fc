"""The score of another first stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.config.registry import SEARCHERS, SIGNALS, component
from rankcli.searchers.base import SearcherContext
from rankcli.signals.base import Signal, SignalOptions, check_scores_any, scored_by


@SIGNALS.register("search")
@dataclass(frozen=True, kw_only=True)
class Search(SignalOptions):
    """The score of another searcher: BM25 with other settings, with feedback or without, tuned or not (`tune`)."""

    version: ClassVar[int] = 1

    run: Any = component(SEARCHERS, "bm25", "a searcher that can score any document: `bm25` or `dense`")

    def __post_init__(self) -> None:
        check_scores_any(self.run)

    def __str__(self) -> str:
        return str(self.run)

    def build(self, ctx: SearcherContext) -> Signal:
        """Build the searcher."""
        return scored_by(self.run.build(ctx))
