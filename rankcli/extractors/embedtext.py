"""Query and document as words of a vocabulary, with inverse document frequencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

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
from rankcli.text.vocabulary import PAD_ID, Rules, Vocabulary


@EXTRACTORS.register("embedtext")
@dataclass(frozen=True, kw_only=True)
class EmbedText(ExtractorOptions):
    """The words (runs of letters and digits) of query and documents, as ids of a vocabulary counted on the collection.

    The vocabulary comes with inverse document frequencies log(1 + (N - df + 0.5) / (df + 0.5)) of its words; N is the
    number of documents of the collection. All words outside the vocabulary share one id. A text without words is a
    sequence of no tokens.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("query", "doc")
    maxqlen: PositiveInt = option(32, "words of the query")
    maxdoclen: PositiveInt = option(800, "words of a document")
    min_df: PositiveInt = option(1, "documents that a word must occur in to have an id of its own")
    vocab_size: PositiveInt = option(100_000, "words at most, the most frequent")
    lowercase: bool = option(True, "whether words ignore case")
    stemmer: Stemmer = option("none", "a Snowball stemmer (english, porter, german, ...) or `none`")

    def build(self, ctx: ExtractorContext) -> EmbedTextExtractor:
        """Open the saved vocabulary, else count the collection's words."""
        if ctx.saved is not None:
            return EmbedTextExtractor(self, Vocabulary.open(ctx.saved))
        texts = ctx.texts
        if texts is None:
            raise MissingError("no collection to count words on", fix="name the directory of a saved model")
        rules = Rules(self.lowercase, self.stemmer)
        found = ctx.once(
            ("words", self.min_df, self.vocab_size, rules),
            lambda: Vocabulary.learn(texts(), min_df=self.min_df, limit=self.vocab_size, rules=rules),
        )
        return EmbedTextExtractor(self, found)


class EmbedTextExtractor:
    """The fields `query`, one sequence per group, and `doc`, one per document; the table `idf`."""

    columns: tuple[str, ...] = ()

    def __init__(self, options: EmbedText, vocabulary: Vocabulary) -> None:
        self.vocabulary, self.fingerprint = vocabulary, vocabulary.fingerprint
        self.tables: Mapping[str, Floats] = {"idf": vocabulary.idf}
        self._keep: dict[Level, int] = {"query": options.maxqlen, "doc": options.maxdoclen}
        self.streams: Mapping[str, StreamSpec] = {level: StreamSpec(level, vocabulary.size) for level in self._keep}
        self.fields: Mapping[str, FieldSpec] = {
            level: SequenceSpec(level, level, longest, PAD_ID) for level, longest in self._keep.items()
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
        docs = [self._sequence("doc", ids, doc) for doc, ids in enumerate(example.docs["doc"])]
        return {"query": [self._sequence("query", example.queries["query"], 0)], "doc": docs}

    def save(self, directory: Path) -> None:
        """Write the vocabulary."""
        self.vocabulary.save(directory)

    def _sequence(self, level: Level, ids: Ints, doc: int) -> TokenSequence:
        kept = ids[: self._keep[level]].astype(np.int32)
        part = QUERY if level == "query" else DOC
        return TokenSequence(kept, np.zeros_like(kept), np.full_like(kept, part), doc)
