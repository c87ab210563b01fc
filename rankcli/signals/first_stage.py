"""The score of the first stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import SIGNALS
from rankcli.searchers.base import SearcherContext
from rankcli.signals.base import Signal, SignalOptions


@SIGNALS.register("first_stage")
@dataclass(frozen=True, kw_only=True)
class FirstStage(SignalOptions):
    """The score in the run that is reranked."""

    version: ClassVar[int] = 1
    usual: ClassVar[float] = 1.0
    reads_texts: ClassVar[bool] = False

    def build(self, ctx: SearcherContext) -> Signal:
        """Make the function."""
        return lambda block: [each.first for each in block]
