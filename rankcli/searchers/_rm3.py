"""RM3: a query is extended with words of the documents that it finds first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rankcli.searchers.tune import Axis

AXES = {
    "fb_docs": Axis((1, 2, 3, 5, 10, 20, 40), 5, 10),
    "fb_terms": Axis((5, 10, 20, 40, 80, 160), 20, 40),
    "fb_original": Axis((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), 0.5, 0.7),
}


@dataclass(frozen=True)
class Feedback:
    """The number of documents and of words that are taken, and the weight of the original query."""

    docs: int
    terms: int
    original: float


def expanded(
    query: Sequence[str], docs: Sequence[Sequence[str]], scores: Sequence[float], feedback: Feedback
) -> dict[str, float]:
    """Return the words of the query and of its first documents, by name, with weights that add up to 1.

    The relevance model is P(w) = sum over documents of score / sum of scores * tf / length (RM1: Lavrenko and Croft,
    SIGIR 2001, with BM25 scores in place of likelihoods); its likeliest words, ties by name, are scaled to add up to 1.
    RM3 (Abdul-Jaleel et al., TREC 2004) mixes: original * tf / length of the query + (1 - original) * P(w).
    """
    model = _relevance(docs, scores)
    kept = sorted(model, key=lambda word: (-model[word], word))[: feedback.terms]
    scale = (1 - feedback.original) / sum(model[word] for word in kept)
    weights = {word: scale * model[word] for word in kept}
    for word in query:
        weights[word] = weights.get(word, 0.0) + feedback.original / len(query)
    return dict(sorted(weights.items()))  # scores are added in this order


def _relevance(docs: Sequence[Sequence[str]], scores: Sequence[float]) -> dict[str, float]:
    total = sum(scores)
    found: dict[str, float] = {}
    for words, score in zip(docs, scores, strict=True):
        for word, count in Counter(words).items():
            found[word] = found.get(word, 0.0) + score / total * count / len(words)
    return found
