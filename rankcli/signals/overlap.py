"""The share of a query that a document has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rankcli.config.registry import SIGNALS
from rankcli.searchers.base import SearcherContext, Values
from rankcli.searchers.bm25 import Words, words_of
from rankcli.signals.base import Candidates, Signal, SignalOptions


@SIGNALS.register("overlap")
@dataclass(frozen=True, kw_only=True)
class Overlap(SignalOptions):
    """The share of the query's different words that are in the document, each counted by its idf (that of BM25)."""

    version: ClassVar[int] = 1

    def build(self, ctx: SearcherContext) -> Signal:
        """Count the documents of each word."""
        words = words_of(ctx)
        found, total = Counter(word for each in words.docs for word in set(each)), len(words.docs)
        idf = {word: float(np.log(1 + (total - df + 0.5) / (df + 0.5))) for word, df in found.items()}
        return lambda block: [_shares(words, idf, each) for each in block]


def _shares(words: Words, idf: dict[int, float], each: Candidates) -> Values:
    query = sorted(set(words.of(each.query)))
    whole = sum(idf[word] for word in query) or 1.0
    docs: Sequence[set[int]] = [set(words.docs[n]) for n in words.ordinals(each.docids)]
    return np.array([sum(idf[word] for word in query if word in doc) / whole for doc in docs])
