"""The length of a document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rankcli.config.registry import SIGNALS
from rankcli.searchers.base import SearcherContext, Values
from rankcli.searchers.bm25 import words_of
from rankcli.signals.base import Candidates, Signal, SignalOptions


@SIGNALS.register("length")
@dataclass(frozen=True, kw_only=True)
class Length(SignalOptions):
    """ln(1 + number of words of the document), stopwords not counted."""

    version: ClassVar[int] = 1

    def build(self, ctx: SearcherContext) -> Signal:
        """Count the words of the collection."""
        words = words_of(ctx)
        lengths = np.log1p(np.array([len(each) for each in words.docs], np.float64))

        def values(block: Sequence[Candidates]) -> list[Values]:
            return [lengths[words.ordinals(each.docids)] for each in block]

        return values
