"""BM25 of the beginnings of documents, where titles are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import SIGNALS, option
from rankcli.config.types import NonNegativeFloat, PositiveInt, Probability
from rankcli.searchers.base import SearcherContext
from rankcli.searchers.bm25 import Index, words_of
from rankcli.signals.base import Signal, SignalOptions, scored_by


@SIGNALS.register("beginning")
@dataclass(frozen=True, kw_only=True)
class Beginning(SignalOptions):
    """BM25 of the first words of a document, where the title is: each is a document of a collection of its own."""

    version: ClassVar[int] = 1

    words: PositiveInt = option(12, "words that are read, stopwords not counted")
    k1: NonNegativeFloat = option(1.2, "how slowly a repeated word stops adding to the score")
    b: Probability = option(0.4, "how much long beginnings are held back, 0 to 1")

    def build(self, ctx: SearcherContext) -> Signal:
        """Index the beginnings."""
        return scored_by(Index(words_of(ctx).beginnings(self.words), self.k1, self.b, 1))
