"""Query and document as words of a vocabulary, with inverse document frequencies and vectors of words from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rankcli.config.registry import EXTRACTORS, option
from rankcli.config.types import PositiveInt
from rankcli.errors import MissingError
from rankcli.extractors.base import ExtractorContext, ExtractorOptions
from rankcli.shapes import (
    DOC,
    QUERY,
    Encoded,
    Example,
    FieldSpec,
    Floats,
    Ints,
    Level,
    Record,
    SequenceSpec,
    StreamSpec,
    TokenSequence,
)
from rankcli.text.stemming import Stemmer
from rankcli.text.vectors import word_vectors
from rankcli.text.vocabulary import IDS, OOV_ID, PAD_ID, Rules, Vocabulary


@EXTRACTORS.register("embedtext")
@dataclass(frozen=True, kw_only=True)
class EmbedText(ExtractorOptions):
    """The words (runs of letters and digits) of query and documents, as ids of a vocabulary counted on the collection.

    The vocabulary comes with inverse document frequencies log(1 + (N - df + 0.5) / (df + 0.5)) of its words; N is the
    number of documents of the collection. Each word of a query that is outside the vocabulary has an id of its own,
    which occurrences in the documents share, and df = 0. A text without words is a sequence of no tokens.

    `vectors` is a file of word2vec (text or binary), GloVe or fastText (.vec), perhaps gzipped, of which only the words
    of the vocabulary are kept, looked up in the form that `lowercase` and `stemmer` leave. Words of the vocabulary
    without a vector get a random one of average length. Without a file, rerankers start from random vectors.
    """

    version: ClassVar[int] = 2
    fields: ClassVar[tuple[str, ...]] = ("query", "doc")
    maxqlen: PositiveInt = option(32, "words of the query")
    maxdoclen: PositiveInt = option(800, "words of a document")
    min_df: PositiveInt = option(1, "documents that a word must occur in to have an id of its own")
    vocab_size: PositiveInt = option(100_000, "words at most, the most frequent")
    lowercase: bool = option(True, "whether words ignore case")
    stemmer: Stemmer = option("none", "a Snowball stemmer (english, porter, german, ...) or `none`")
    vectors: str | None = option(None, "file of word vectors: word2vec, GloVe or fastText", path="file")

    def build(self, ctx: ExtractorContext) -> EmbedTextExtractor:
        """Open the saved vocabulary, else count the collection's words and read their vectors."""
        if ctx.saved is not None:
            return EmbedTextExtractor(self, Vocabulary.open(ctx.saved))
        texts, file = ctx.texts, self.vectors
        if texts is None:
            raise MissingError("no collection to count words on", fix="name the directory of a saved model")
        rules = Rules(self.lowercase, self.stemmer)
        rare = self.min_df, self.vocab_size, rules
        found = ctx.once(
            ("words", *rare), lambda: Vocabulary.learn(texts(), min_df=self.min_df, limit=self.vocab_size, rules=rules)
        )
        vectors = ctx.once(("vectors", *rare, file), lambda: word_vectors(file, found)) if file else None
        return EmbedTextExtractor(self, found, vectors)


class EmbedTextExtractor:
    """The fields `query`, one sequence per group, and `doc`, one per document; the tables `idf` and perhaps `vectors`.

    Ids from `vocabulary.size` on are unknown words of the query, in the order in which they first occur; the last one
    is any other unknown word.
    """

    columns: tuple[str, ...] = ()

    def __init__(self, options: EmbedText, vocabulary: Vocabulary, vectors: Floats | None = None) -> None:
        self.vocabulary, self.fingerprint = vocabulary, vocabulary.fingerprint
        self._keep: dict[Level, int] = {"query": options.maxqlen, "doc": options.maxdoclen}
        unknown = options.maxqlen + 1
        self._other = vocabulary.size + unknown - 1
        idf = np.append(vocabulary.idf, np.full(unknown, vocabulary.idf[OOV_ID], np.float32))
        self.tables: Mapping[str, Floats] = {"idf": idf} if vectors is None else {"idf": idf, "vectors": vectors}
        self.streams: Mapping[str, StreamSpec] = {level: StreamSpec(level, IDS) for level in self._keep}
        self.fields: Mapping[str, FieldSpec] = {
            level: SequenceSpec(level, level, longest, PAD_ID, vocab_size=self._other + 1, unknown=unknown)
            for level, longest in self._keep.items()
        }

    def encode(self, stream: str, records: Sequence[Record]) -> Encoded:
        """The ids of each text's words, cut off at `maxqlen` or `maxdoclen`."""
        tokens = self.vocabulary.encode([record.text for record in records])
        kept = self._keep[self.streams[stream].level]
        return Encoded([ids[:kept].copy() for ids in tokens], [len(ids) for ids in tokens])

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        """`maxdoclen`, for any query."""
        return self._keep["doc"]

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        """`query`: the query's words; `doc`: each document's words."""
        query = example.queries["query"][: self._keep["query"]]
        unknown = dict.fromkeys(query[query >= self.vocabulary.size].tolist())
        numbers = {word: self.vocabulary.size + n for n, word in enumerate(unknown)}
        docs = [self._sequence(ids[: self._keep["doc"]], numbers, DOC, n) for n, ids in enumerate(example.docs["doc"])]
        return {"query": [self._sequence(query, numbers, QUERY, 0)], "doc": docs}

    def save(self, directory: Path) -> None:
        """Write the vocabulary. Vectors are among the weights of the reranker."""
        self.vocabulary.save(directory)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for processes that convert: without vectors, which only a reranker reads."""
        return {**self.__dict__, "tables": {"idf": self.tables["idf"]}}

    def _sequence(self, ids: Ints, numbers: Mapping[int, int], part: int, doc: int) -> TokenSequence:
        kept = ids.astype(np.int32)
        unknown = kept >= self.vocabulary.size
        kept[unknown] = [numbers.get(word, self._other) for word in kept[unknown].tolist()]
        return TokenSequence(kept, np.zeros_like(kept), np.full_like(kept, part), doc)
