"""Rows of mined negatives as files: with ids as `mined_rows` reads them, or with texts as other tools do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

Row = dict[str, Any]


class Mined(NamedTuple):
    """A query with a relevant document and the negatives that were mined for it, best first.

    `source` is the name of the list of negatives. `score` and `scores` are of the relevant document, if it has one, and
    of the negatives.
    """

    qid: str
    positive: str
    negatives: tuple[str, ...]
    source: str
    score: float | None
    scores: tuple[float, ...]


class MinedTexts(NamedTuple):
    """The texts of a query, of its relevant document and of the negatives."""

    query: str
    positive: str
    negatives: list[str]


def ids(row: Mined) -> Row:
    """The row with ids, and with scores unless the relevant document has none."""
    found: Row = {"query": row.qid, "pos": [row.positive], "neg": {row.source: list(row.negatives)}}
    if row.score is None:
        return found
    return {**found, "pos_scores": [row.score], "neg_scores": {row.source: list(row.scores)}}


def _triplets(row: Mined, texts: MinedTexts) -> Iterator[Row]:
    for negative in texts.negatives:
        yield {"anchor": texts.query, "positive": texts.positive, "negative": negative}


def _tuples(row: Mined, texts: MinedTexts) -> Iterator[Row]:
    negatives = {f"negative_{n}": text for n, text in enumerate(texts.negatives, 1)}
    yield {"anchor": texts.query, "positive": texts.positive, **negatives}


def _pairs(row: Mined, texts: MinedTexts) -> Iterator[Row]:
    for n, text in enumerate([texts.positive, *texts.negatives]):
        yield {"query": texts.query, "passage": text, "label": int(n == 0)}


def _lists(row: Mined, texts: MinedTexts) -> Iterator[Row]:
    labels = [1, *[0] * len(texts.negatives)]
    yield {"query": texts.query, "docs": [texts.positive, *texts.negatives], "labels": labels}


def _flagembedding(row: Mined, texts: MinedTexts) -> Iterator[Row]:
    scores = {} if row.score is None else {"pos_scores": [row.score], "neg_scores": list(row.scores)}
    yield {"query": texts.query, "pos": [texts.positive], "neg": texts.negatives, **scores}


def _tevatron(row: Mined, texts: MinedTexts) -> Iterator[Row]:
    negatives = zip(row.negatives, texts.negatives, strict=True)
    yield {
        "query_id": row.qid,
        "query": texts.query,
        "positive_passages": [_passage(row.positive, texts.positive)],
        "negative_passages": [_passage(docid, text) for docid, text in negatives],
    }


def _passage(docid: str, text: str) -> Row:
    return {"docid": docid, "title": "", "text": text}


IDS, TUPLE = "ids", "n-tuple"
WITH_TEXTS: dict[str, Callable[[Mined, MinedTexts], Iterator[Row]]] = {
    "triplet": _triplets,
    TUPLE: _tuples,
    "labeled-pair": _pairs,
    "labeled-list": _lists,
    "flagembedding": _flagembedding,
    "tevatron": _tevatron,
}
