"""BM25, the first stage to beat: stemmed, without stopwords."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from rankcli.config.registry import SEARCHERS, option
from rankcli.config.types import NonNegativeFloat, PositiveInt, Probability
from rankcli.data.source import Documents
from rankcli.data.trec import CompactRun, Run, ranking
from rankcli.errors import ConfigError
from rankcli.log import Progress
from rankcli.searchers.base import Searcher, SearcherContext
from rankcli.searchers.tune import Axis, Setting, Tuned, tune
from rankcli.text import stemming

AXES = {
    "k1": Axis((0.1, 0.2, 0.4, 0.6, 0.9, 1.2, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.5, 8.0, 10.0), 0.6, 2.0),
    "b": Axis((0.0, 0.1, 0.2, 0.4, 0.6, 0.75, 0.9, 1.0), 0.2, 0.9),
}
_WORD = re.compile(r"\b\w\w+\b")


@SEARCHERS.register("bm25")
@dataclass(frozen=True, kw_only=True)
class BM25:
    """BM25 as Lucene computes it (Kamphuis et al., "Which BM25 Do You Mean?", ECIR 2020).

    score(q, d) = sum over the words t of q (a repeated word counts each time) of
    ln(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * (1 - b + b * length(d) / mean length)).
    Words are runs of two or more letters, digits or underscores, lower-cased; stopwords (the 33 of Lucene) are removed,
    then the rest is stemmed. Documents that share no word with the query are not returned.
    """

    version: ClassVar[int] = 1

    k1: NonNegativeFloat = option(0.9, "how slowly a repeated word stops adding to the score")
    b: Probability = option(0.4, "how much long documents are held back, 0 to 1")
    stemmer: stemming.Stemmer = option("english", "a Snowball stemmer (english, porter, german, ...) or `none`")
    stopwords: Literal["english", "none"] = option("english", "words to leave out")
    k: PositiveInt = option(1000, "documents returned per query")
    tune: bool = option(False, "choose k1 and b on the training queries of the fold")

    def __post_init__(self) -> None:
        if self.tune and (self.k1, self.b) != (BM25.k1, BM25.b):
            raise ValueError("`tune` chooses k1 and b: leave them out")

    def __str__(self) -> str:
        return f"BM25, k1 {self.k1:g}, b {self.b:g}"

    def tuned(self, docs: Documents, queries: Mapping[str, str], value: Callable[[Run], float]) -> Tuned:
        """Choose k1 and b, of which `value(run)` of these queries is highest; the collection is read once."""
        words = Words(docs, self.stemmer, self.stopwords)

        def of(setting: Setting) -> float:
            return value(CompactRun.of(Index(words, setting["k1"], setting["b"], self.k).each(queries)))

        return tune(AXES, of, {"k1": self.k1, "b": self.b})

    def build(self, ctx: SearcherContext) -> Searcher:
        """Read and index the collection. ConfigError for options that are not chosen yet."""
        if self.tune:
            fix = "give k1 and b (rankcli search --tune QRELS chooses them)"
            raise ConfigError("BM25 is to be tuned, but there are no training queries here", fix=fix)
        return Index(Words(ctx.docs, self.stemmer, self.stopwords), self.k1, self.b, self.k)


class Words:
    """The collection as word numbers, four bytes each in memory; enough to index it for any k1 and b."""

    def __init__(self, docs: Documents, stemmer: str, stopwords: str) -> None:
        self.split = splitter(stemmer, stopwords)
        self.vocabulary: dict[str, int] = {}
        self.docids: list[str] = []
        self.docs: list[array[int]] = []
        with Progress(len(docs), "indexing", "documents") as bar:
            for docid, text in docs.iterate():
                self.docids.append(docid)
                self.docs.append(
                    array("i", [self.vocabulary.setdefault(w, len(self.vocabulary)) for w in self.split(text)])
                )
                bar.advance()

    def of(self, query: str) -> list[int]:
        """The numbers of a query's words, in order; words that are in no document are left out."""
        return [self.vocabulary[word] for word in self.split(query) if word in self.vocabulary]


class Index:
    """A BM25 index in memory."""

    def __init__(self, words: Words, k1: float, b: float, k: int) -> None:
        self._words, self._k = words, k
        self._bm25: Any = None
        if words.vocabulary:
            import bm25s

            self._bm25 = bm25s.BM25(k1=k1, b=b, method="lucene")
            self._bm25.index((words.docs, words.vocabulary), create_empty_token=False, show_progress=False)

    def search(self, queries: Mapping[str, str]) -> Run:
        """The best documents of each query, ties by document id, descending."""
        with Progress(len(queries), "searching", "queries") as bar:
            return CompactRun.of(self.each(queries, bar.advance))

    def each(
        self, queries: Mapping[str, str], count: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[str, dict[str, float]]]:
        """Yield the queries with their best documents, and count them."""
        for qid, text in queries.items():
            yield qid, self._best(self._words.of(text))
            count()

    def _best(self, query: list[int]) -> dict[str, float]:
        if not query:
            return {}
        scores: npt.NDArray[np.float32] = self._bm25.get_scores_from_ids(query)
        found = np.flatnonzero(scores > 0)
        if len(found) > self._k:
            # Keep all documents with the k-th score, so that ties are broken by ids alone.
            found = found[scores[found] >= np.partition(scores[found], -self._k)[-self._k]]
        by_id = {self._words.docids[n]: float(scores[n]) for n in found}
        return {docid: by_id[docid] for docid in ranking(by_id)[: self._k]}


def splitter(stemmer: str, stopwords: str) -> Callable[[str], list[str]]:
    """The function from a text to its words."""
    from bm25s.stopwords import STOPWORDS_EN

    left_out = frozenset(STOPWORDS_EN if stopwords == "english" else ())
    stem = stemming.stemmer(stemmer)

    def split(text: str) -> list[str]:
        return stem([word for word in _WORD.findall(text.lower()) if word not in left_out])

    return split
