"""Groups and golden values for rerankers on words: unknown words among known ones, and states given as word vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tiny_models as tiny

from rankcli.config.registry import RERANKERS
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.embedtext import EmbedText
from rankcli.rerankers.base import RerankerContext
from rankcli.shapes import Example

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "words.json").read_text())
QUERY, DOC = "qa qb qc", "da db qa dc dd"  # the words of the golden values, one of them in both
GROUPS = (
    ("cat xylophone mat", ("the cat sat on the xylophone", "zeppelin zeppelin", "a mat")),
    ("quokka dogs", ("dogs", "quokka and quokka far away", "", "zeppelin run")),
)


def groups(extractor: Any) -> list[Example]:
    """Two groups with unknown words, and a document without words."""
    return [tiny.example(extractor, query, docs) for query, docs in GROUPS]


def ids(extractor: Any, group: Example) -> tuple[np.ndarray, list[np.ndarray]]:
    """The ids that a reranker reads: of the query, and of each document."""
    made = extractor.extract(group)
    return made["query"][0].ids, [sequence.ids for sequence in made["doc"]]


def check(model: tiny.Tiny, restated: Any, static: bool = True) -> None:
    """Compare scores with a restatement `f(tensors, query ids, document ids)`, to 1e-5 of the greatest."""
    made = groups(model.extractor)
    scores = model.reranker(tiny.batch(model.extractor, made, static=static)).scores.numpy()
    tensors = model.reranker.tensors()
    for row, group in zip(scores, made, strict=True):
        query, docs = ids(model.extractor, group)
        expected = [restated(tensors, query, doc) for doc in docs]
        np.testing.assert_allclose(row[: len(docs)], expected, atol=1e-5 * max(1.0, np.abs(expected).max()))


def golden(name: str, entry: str, tensors: dict[str, Any], **options: Any) -> tuple[float, tiny.Tiny]:
    """The score of a model whose word vectors are the states of a golden entry, and the model."""
    inputs = GOLDEN[entry]["inputs"]
    extractor = EmbedText(maxqlen=inputs.get("maxqlen", 4)).build(ExtractorContext(texts=lambda: (QUERY, DOC)))
    words = {word: n for n, word in enumerate(extractor.vocabulary.words, 2)}
    table, idf = np.zeros((extractor.vocabulary.size, 4), np.float32), extractor.tables["idf"].copy()
    for n, word in enumerate(DOC.split()):
        table[words[word]] = inputs["doc"][n]
    for n, word in enumerate(QUERY.split()):
        table[words[word]] = inputs["query"][n]
        idf[words[word]] = inputs.get("idf", [1, 1, 1])[n]
    extractor.tables = {"idf": idf}
    reranker = RERANKERS.get(name)(dim=4, **options).build(RerankerContext(extractor=extractor))
    given = {key: np.array(value, np.float32) for key, value in tensors.items()}
    reranker.assign({**reranker.tensors(), "word_embeddings.weight": table, **given})
    scores = reranker(tiny.batch(extractor, [tiny.example(extractor, QUERY, (DOC,))])).scores
    return float(scores[0, 0]), tiny.Tiny(reranker, extractor, (None, None))


def parameters(model: tiny.Tiny) -> dict[str, int]:
    """The numbers of each trained variable but the word vectors, by path."""
    counts = {path: v.shape.num_elements() for path, v in model.reranker.variables.items() if v.trainable}
    counts.pop("encoder/word_embeddings", None)
    return counts
