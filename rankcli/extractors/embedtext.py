"""Query and document as words of a vocabulary, with inverse document frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from rankcli.config.registry import EXTRACTORS, option
from rankcli.config.types import PositiveInt
from rankcli.errors import MissingError
from rankcli.extractors.base import ExtractorContext
from rankcli.shapes import Encoded, Example, FieldSpec, Ints, Level, TokenSequence
from rankcli.text.stemming import Stemmer
from rankcli.text.vocabulary import PAD_ID, Rules, Vocabulary


@EXTRACTORS.register("embedtext")
@dataclass(frozen=True, kw_only=True)
class EmbedText:
    """The words (runs of letters and digits) of query and documents, as ids of a vocabulary counted on the collection.

    The vocabulary comes with inverse document frequencies log(1 + (N - df + 0.5) / (df + 0.5)) of its words, N being
    the number of documents of the collection. All words outside share one id. A text without words is a sequence of no
    tokens.
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
    """The fields `query`, one sequence per group, and `doc`, one per document."""

    def __init__(self, options: EmbedText, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.vocab_size, self.pad_id = vocabulary.size, PAD_ID
        self.fingerprint, self.idf = vocabulary.fingerprint, vocabulary.idf
        self._keep: dict[Level, int] = {"query": options.maxqlen, "doc": options.maxdoclen}
        self.fields = {"query": FieldSpec("query", options.maxqlen), "doc": FieldSpec("doc", options.maxdoclen)}

    def encode(self, level: Level, texts: Sequence[str]) -> Encoded:
        """The ids of each text's words, cut to `maxqlen` or `maxdoclen`."""
        tokens = self.vocabulary.encode(texts)
        return Encoded([ids[: self._keep[level]].copy() for ids in tokens], [len(ids) for ids in tokens])

    def doc_budget(self, query_tokens: int) -> int:
        """`maxdoclen`, whatever the query."""
        return self._keep["doc"]

    def sequences(self, example: Example) -> dict[str, list[TokenSequence]]:
        """`query`: the query's words; `doc`: each document's."""
        docs = [self._sequence("doc", ids, doc) for doc, ids in enumerate(example.docs)]
        return {"query": [self._sequence("query", example.query, 0)], "doc": docs}

    def save(self, directory: Path) -> None:
        """Write the vocabulary."""
        self.vocabulary.save(directory)

    def _sequence(self, level: Level, ids: Ints, doc: int) -> TokenSequence:
        kept = ids[: self._keep[level]].astype(np.int32)
        return TokenSequence(kept, np.zeros_like(kept), doc)
