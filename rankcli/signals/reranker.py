"""The score of the reranker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rankcli.config.registry import SIGNALS
from rankcli.searchers.base import SearcherContext, Values
from rankcli.signals.base import Candidates, Signal, SignalOptions


@SIGNALS.register("reranker")
@dataclass(frozen=True, kw_only=True)
class RerankerScore(SignalOptions):
    """The score of the reranker that is trained.

    It has seen the judgments of training queries, so a mixture with this signal is learnt on dev queries alone.
    """

    version: ClassVar[int] = 1
    usual: ClassVar[float] = 1.0
    reads_texts: ClassVar[bool] = False
    reads_reranker: ClassVar[bool] = True

    def build(self, ctx: SearcherContext) -> Signal:
        """Make the function."""
        return _scores


def _scores(block: Sequence[Candidates]) -> list[Values]:
    return [np.zeros(0) if each.reranked is None else each.reranked for each in block]
