"""BM25, the first stage to beat: stemmed, without stopwords."""

from __future__ import annotations

import copy
import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from rankcli.config.registry import SEARCHERS, option
from rankcli.config.types import NonNegativeFloat, PositiveInt, Probability
from rankcli.data.source import Documents
from rankcli.data.trec import CompactRun, Run
from rankcli.errors import ConfigError
from rankcli.log import Progress
from rankcli.searchers import _rm3
from rankcli.searchers._rm3 import Feedback, expanded
from rankcli.searchers.base import Asked, Searcher, SearcherContext, Values
from rankcli.searchers.tune import Axis, Setting, Tuned, tune
from rankcli.text import stemming

AXES = {
    "k1": Axis((0.1, 0.2, 0.4, 0.6, 0.9, 1.2, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.5, 8.0, 10.0), 0.6, 2.0),
    "b": Axis((0.0, 0.1, 0.2, 0.4, 0.6, 0.75, 0.9, 1.0), 0.2, 0.9),
}
Vector = npt.NDArray[np.float32]
_WORD = re.compile(r"\b\w\w+\b")


@SEARCHERS.register("bm25")
@dataclass(frozen=True, kw_only=True)
class BM25:
    """BM25 as Lucene computes it (Kamphuis et al., "Which BM25 Do You Mean?", ECIR 2020).

    score(q, d) = sum over the words t of q (a repeated word counts each time) of
    ln(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * (1 - b + b * length(d) / mean length)).
    Words are runs of two or more letters, digits or underscores, lower-cased; stopwords (the 33 of Lucene) are removed,
    then the rest is stemmed. Documents that share no word with the query are not returned.

    With `feedback: rm3`, likely words of the first documents are added to the query, and it is searched again.
    """

    version: ClassVar[int] = 1

    k1: NonNegativeFloat = option(0.9, "how slowly a repeated word stops adding to the score")
    b: Probability = option(0.4, "how much long documents are held back, 0 to 1")
    stemmer: stemming.Stemmer = option("english", "a Snowball stemmer (english, porter, german, ...) or `none`")
    stopwords: Literal["english", "none"] = option("english", "words to leave out")
    k: PositiveInt = option(1000, "documents returned per query")
    tune: bool = option(False, "choose k1, b and the settings of the feedback on the training queries of the fold")
    feedback: Literal["none", "rm3"] = option("none", "`rm3`: search again with words of the first documents")
    fb_docs: PositiveInt = option(10, "documents that the words are taken from")
    fb_terms: PositiveInt = option(10, "words that are taken")
    fb_original: Probability = option(0.5, "weight of the original query against the words that are taken")

    def __post_init__(self) -> None:
        own = [name for name in (*AXES, *_rm3.AXES) if getattr(self, name) != getattr(BM25, name)]
        if self.tune and own:
            raise ValueError(f"`tune` chooses k1, b and what feedback has: leave out {', '.join(own)}")
        if self.feedback == "none" and (idle := [name for name in own if name in _rm3.AXES]):
            raise ValueError(f"{', '.join(idle)}: there is no feedback without `feedback: rm3`")

    def __str__(self) -> str:
        fed = f", RM3 of {self.fb_docs} documents, {self.fb_terms} words, original weight {self.fb_original:g}"
        return f"BM25, k1 {self.k1:g}, b {self.b:g}{'' if self.feedback == 'none' else fed}"

    def tuned(
        self, docs: Documents, queries: Mapping[str, str], value: Callable[[Run], float], depth: int | None = None
    ) -> Tuned:
        """Choose k1 and b, then the settings of the feedback, of which `value(run)` of these queries is highest.

        `value` reads the first `depth` documents of a query; None: all. The collection is read once.
        """
        words, k = Words(docs, self.stemmer, self.stopwords), min(self.k, depth or self.k)

        def plain(setting: Setting) -> float:
            return value(CompactRun.of(Index(words, setting["k1"], setting["b"], k).each(queries)))

        found = tune(AXES, plain, {name: getattr(self, name) for name in AXES})
        if self.feedback == "none":
            return found
        index = Index(words, found.chosen["k1"], found.chosen["b"], k)

        def fed(setting: Setting) -> float:
            feedback = Feedback(int(setting["fb_docs"]), int(setting["fb_terms"]), setting["fb_original"])
            return value(CompactRun.of(index.fed(feedback).each(queries)))

        return found.then(tune(_rm3.AXES, fed, {name: getattr(self, name) for name in _rm3.AXES}))

    def build(self, ctx: SearcherContext) -> Searcher:
        """Read and index the collection. ConfigError for options that are not chosen yet."""
        if self.tune:
            fix = "give k1 and b (rankcli search --tune QRELS chooses them)"
            raise ConfigError("BM25 is to be tuned, but there are no training queries here", fix=fix)
        index = Index(words_of(ctx, self.stemmer, self.stopwords), self.k1, self.b, self.k)
        if self.feedback == "none":
            return index
        return index.fed(Feedback(self.fb_docs, self.fb_terms, self.fb_original))


def words_of(ctx: SearcherContext, stemmer: str = "english", stopwords: str = "english") -> Words:
    """The words of the context's collection, made once for all that ask for them."""
    key = "words", stemmer, stopwords
    if key not in ctx.shared:
        ctx.shared[key] = Words(ctx.docs, stemmer, stopwords)
    found: Words = ctx.shared[key]
    return found


class Words:
    """The collection as word numbers, four bytes each in memory; enough to index it for any k1 and b."""

    def __init__(self, docs: Documents, stemmer: str, stopwords: str) -> None:
        self.split, self.ordinals = splitter(stemmer, stopwords), docs.ordinals
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
        self.names = list(self.vocabulary)

    def of(self, query: str) -> list[int]:
        """The numbers of a query's words, in order; words that are in no document are left out."""
        return [self.vocabulary[word] for word in self.split(query) if word in self.vocabulary]

    def beginnings(self, length: int) -> Words:
        """The first words of every document, as a collection of its own."""
        other = copy.copy(self)
        other.docs = [each[:length] for each in self.docs]
        return other


class Index:
    """A BM25 index in memory."""

    def __init__(self, words: Words, k1: float, b: float, k: int) -> None:
        self._words, self._k = words, k
        self._feedback: Feedback | None = None
        self._bm25: Any = None
        if words.vocabulary:
            import bm25s

            bm25s.logger.setLevel("WARNING")  # else every index is told of once TensorFlow has set up logging
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

    def fed(self, feedback: Feedback) -> Index:
        """Return the same index, searched with feedback; memory is shared."""
        other = copy.copy(self)
        other._feedback = feedback
        return other

    def scores(self, asked: Sequence[Asked]) -> list[Values]:
        """Return the scores of documents for each of some queries; 0 for those that share no word with it."""
        words = self._words
        return [self._all(words.of(text))[words.ordinals(docids)].astype(np.float64) for text, docids in asked]

    def _best(self, query: list[int]) -> dict[str, float]:
        return {self._words.docids[n]: score for n, score in self._top(self._all(query), self._k)}

    def _all(self, query: list[int]) -> Vector:
        """Return the scores of all documents."""
        if not query:
            return np.zeros(len(self._words.docs), np.float32)
        scores: Vector = self._bm25.get_scores_from_ids(query)
        return self._again(query, scores, self._feedback) if self._feedback else scores

    def _top(self, scores: Vector, k: int) -> list[tuple[int, float]]:
        """Return the numbers and scores of the best documents, ties by document id, descending."""
        found = np.flatnonzero(scores > 0)
        if len(found) > k:
            # Keep all documents with the k-th score, so that ties are broken by ids alone.
            found = found[scores[found] >= np.partition(scores[found], -k)[-k]]
        docids = [self._words.docids[n] for n in found]
        best = sorted(zip(scores[found].tolist(), docids, found.tolist(), strict=True), reverse=True)[:k]
        return [(n, score) for score, _, n in best]

    def _again(self, query: list[int], scores: Vector, feedback: Feedback) -> Vector:
        """Return the scores of the expanded query: sums of the BM25 scores of its words, times their weights."""
        words, first = self._words, self._top(scores, feedback.docs)
        docs = [[words.names[word] for word in words.docs[n]] for n, _ in first]
        weights = expanded([words.names[word] for word in query], docs, [score for _, score in first], feedback)
        kept, total = self._bm25.scores, np.zeros(len(words.docs))
        for name, weight in weights.items():
            at = slice(*kept["indptr"][words.vocabulary[name] :][:2])
            total[kept["indices"][at]] += weight * kept["data"][at]
        return total.astype(np.float32)


def splitter(stemmer: str, stopwords: str) -> Callable[[str], list[str]]:
    """The function from a text to its words."""
    from bm25s.stopwords import STOPWORDS_EN

    left_out = frozenset(STOPWORDS_EN if stopwords == "english" else ())
    stem = stemming.stemmer(stemmer)

    def split(text: str) -> list[str]:
        return stem([word for word in _WORD.findall(text.lower()) if word not in left_out])

    return split
