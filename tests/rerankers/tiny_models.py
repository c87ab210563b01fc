"""Every reranker in a tiny configuration, with weights far from zero, and batches for it."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

from rankcli.backend import tf
from rankcli.config.registry import EXTRACTORS, RERANKERS
from rankcli.encoders.config import TINY
from rankcli.extractors.base import Extractor, ExtractorContext
from rankcli.records.reader import Shape, collate
from rankcli.rerankers.base import Reranker, RerankerContext
from rankcli.shapes import Batch, Example, Record

TEXTS = (
    "the cat sat on the mat",
    "dogs and cats run over the hills and far away",
    "a mat is no cat but a cat likes its mat and sits on the mat all day",
    "gradient descent",
    "cats",
)
QUERIES = ("cat mat", "dogs run far")
DEEPER = dataclasses.replace(TINY, layers=2)
WIDER = dataclasses.replace(TINY, hidden=16, heads=2, intermediate=32, dropout=0.0)
EXTRACTORS_OF: dict[str, dict[str, Any]] = {
    "passage": {"maxseqlen": 24, "maxqlen": 4, "vocab_size": 60},
    "pooledpassage": {"maxseqlen": 16, "maxqlen": 4, "passagelen": 6, "stride": 4, "numpassages": 3, "vocab_size": 60},
    "embedtext": {"maxqlen": 4, "maxdoclen": 20, "min_df": 1},
    "setpassage": {"maxseqlen": 24, "maxqlen": 4, "vocab_size": 60},
    "duo": {"maxseqlen": 32, "maxqlen": 4, "numdocs": 5, "vocab_size": 60},
    "prompted": {"maxseqlen": 32, "maxqlen": 4, "vocab_size": 60},
    "apart": {"maxqlen": 8, "maxdoclen": 24, "vocab_size": 60},
    "colbert": {"maxqlen": 8, "maxdoclen": 24, "vocab_size": 60},
    "features": {"log1p": True, "standardize": True},
}
NAMES = sorted(RERANKERS.builtins())
ON_TEXTS = [name for name in NAMES if RERANKERS.get(name).default_extractor != "features"]


class Tiny(NamedTuple):
    """A reranker with its extractor, and the options of both."""

    reranker: Reranker
    extractor: Extractor
    options: tuple[Any, Any]


@functools.cache
def extractor_of(name: str) -> tuple[Any, Extractor]:
    """The extractor that the reranker reads, and its options."""
    extractor = RERANKERS.get(name).default_extractor
    options = EXTRACTORS.get(extractor)(**EXTRACTORS_OF[extractor])
    measured = np.array([numbers(query, text) for query in QUERIES for text in TEXTS], np.float32)
    return options, options.build(ExtractorContext(texts=lambda: (*TEXTS, *QUERIES), features=lambda: iter([measured])))


def built(name: str, *, seed: int = 1, dtype: str = "float32", shaken: bool = True, **changed: Any) -> Tiny:
    """A new model; `shaken` gives it weights with which scores differ clearly."""
    extractor_options, extractor = extractor_of(name)
    kind = RERANKERS.get(name)
    options = kind(**{**kind.tiny, **changed})
    reranker = options.build(RerankerContext(extractor=extractor, seed=seed, dtype=dtype))
    if shaken:
        shake(reranker)
    return Tiny(reranker, extractor, (options, extractor_options))


def shake(reranker: Reranker, seed: int = 5) -> None:
    """Add noise to all variables but KNRM's widths, which stay narrow."""
    noise = np.random.default_rng(seed)
    for path, variable in reranker.variables.items():
        scale = 0.0 if path.endswith("sigma") else 0.02 if path.endswith("mu") else 0.4
        variable.assign_add(scale * noise.standard_normal(variable.shape).astype(np.float32))


def examples(extractor: Extractor) -> list[Example]:
    """Two groups, of three and of two documents."""
    return [example(extractor, QUERIES[0], TEXTS[:3]), example(extractor, QUERIES[1], TEXTS[3:])]


def batch(extractor: Extractor, groups: list[Example], *, size: int = 0, docs: int = 0, static: bool = False) -> Batch:
    """The groups laid out, in places for `size` groups of `docs` documents."""
    shape = Shape(size or len(groups), docs or max(len(group.docids) for group in groups), static)
    return tf.nest.map_structure(tf.constant, collate([groups], extractor, shape)[0])


def padding(extractor: Extractor) -> Batch:
    """The batch of a replica without groups: places, and nothing in them."""
    parts = collate([examples(extractor), []], extractor, Shape(2, 3, True))
    return tf.nest.map_structure(tf.constant, parts[1])


def example(extractor: Extractor, query: str, docs: tuple[str, ...]) -> Example:
    """A group of these documents, cut as they are for records."""
    if not extractor.streams:
        found = np.array([numbers(query, doc) for doc in docs], np.float32)
        docids = tuple(map(str, range(len(docs))))
        return Example(query, docids, np.ones(len(docs), np.float32), columns={"features": found})
    (query_ids,) = extractor.encode("query", [Record("q", query)]).tokens
    budget = extractor.budget("doc", {"query": len(query_ids)})
    ids = tuple(tokens[:budget] for tokens in extractor.encode("doc", [Record("", doc) for doc in docs]).tokens)
    docids = tuple(str(n) for n in range(len(docs)))
    return Example(query, docids, np.ones(len(docs), np.float32), {"query": query_ids}, {"doc": ids})


def numbers(query: str, doc: str) -> list[float]:
    """Features of a query and a document: letters, words, words of the query."""
    return [len(doc), len(doc.split()), sum(word in doc for word in query.split()) - 1]
