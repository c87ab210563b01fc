"""Query and document in separate sequences, for models that encode them separately."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from rankcli.config.registry import EXTRACTORS, option
from rankcli.config.types import PositiveInt
from rankcli.errors import ConfigError
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.subwords import SubwordExtractor, SubwordOptions, room
from rankcli.shapes import (
    DOC,
    QUERY,
    SPECIAL,
    TITLE,
    Encoded,
    Example,
    Floats,
    Ints,
    Level,
    Record,
    SequenceSpec,
    StreamSpec,
    TokenSequence,
)
from rankcli.text.tokenizer import Tokenizer, has_tokenizer

QUERY_MODEL = "query.pretrained"  # the folder of a saved model with the encoder of queries


@EXTRACTORS.register("apart")
@dataclass(frozen=True, kw_only=True)
class Apart(SubwordOptions):
    """The query and each document as `[CLS] text [SEP]`, with the tokenizer's own special tokens. Queries have the
    tokenizer of `reranker.query.pretrained`, where that names a model. With `titles` a document that has a title is
    `[CLS] title [SEP] text [SEP]`.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("query", "doc")
    maxqlen: PositiveInt = option(32, "tokens of the query's sequence, special tokens included")
    maxdoclen: PositiveInt = option(128, "tokens of a document's sequence, special tokens included")
    titles: bool = option(False, "tell a document's title from its text; else they are one text")

    def __post_init__(self) -> None:
        for name, length in (("maxqlen", self.maxqlen), ("maxdoclen", self.maxdoclen)):
            if length < 3:
                raise ValueError(f"{name} must be at least 3: two special tokens and one of the text")

    def build(self, ctx: ExtractorContext) -> ApartExtractor:
        """Open or train the tokenizer, and open that of queries if it is another."""
        tokenizer = self.open_tokenizer(ctx)
        directory = ctx.saved / QUERY_MODEL if ctx.saved else ctx.query
        if directory is None or (ctx.saved and not has_tokenizer(directory)):
            return ApartExtractor(self, tokenizer, tokenizer)
        of_queries = ctx.once(directory, lambda: Tokenizer.open(directory))
        same = of_queries.fingerprint == tokenizer.fingerprint
        return ApartExtractor(self, tokenizer, tokenizer if same else of_queries)


class ApartExtractor(SubwordExtractor):
    """The fields `query`, one sequence per group, and `doc`, one per document. With `titles` the special token that
    ends a text is, in records, between title and text.
    """

    def __init__(self, options: Apart, tokenizer: Tokenizer, of_queries: Tokenizer) -> None:
        self.template, self.query_template = tokenizer.single_template, of_queries.single_template
        self.query_room = room(self.query_template, options.maxqlen, 0, "the query")
        self.doc_room = room(self.template, options.maxdoclen, 0, "the document")
        lengths: dict[str, tuple[Level, int]] = {"query": ("query", options.maxqlen), "doc": ("doc", options.maxdoclen)}
        super().__init__(tokenizer, lengths, {"query": self.query_room, "doc": self.doc_room})
        self.of_queries = of_queries
        self.titles, self._end = options.titles, np.array(self.template.pieces[-1][0][-1:], np.int32)
        if self.titles:
            self.streams = {**self.streams, "doc": self.streams["doc"]._replace(titles=True)}
            if not len(self._end):
                what = "the tokenizer has no special token that ends a text, so titles cannot be told from texts"
                raise ConfigError(what, where="extractor.titles", fix="leave it out")
        if of_queries is not tokenizer:
            both = tokenizer.fingerprint + of_queries.fingerprint
            self.fingerprint = hashlib.sha256(both.encode()).hexdigest()
            self.streams = {**self.streams, "query": StreamSpec("query", of_queries.vocab_size)}
            self.fields = {**self.fields, "query": SequenceSpec("query", "query", options.maxqlen, of_queries.pad_id)}

    def tokenizer_of(self, stream: str) -> Tokenizer:
        """The tokenizer of queries, or of documents."""
        return self.of_queries if stream == "query" else self.tokenizer

    def encode(self, stream: str, records: Sequence[Record]) -> Encoded:
        """Token ids of each text; with `titles` those of title and text of each document, with a token between them."""
        if stream == "query" or not self.titles:
            return super().encode(stream, records)
        titles = self.tokenizer.encode([each.text[: each.title] for each in records])
        texts = self.tokenizer.encode([each.text[each.title :].lstrip() for each in records])
        joined = [self._joined(title, text) for title, text in zip(titles, texts, strict=True)]
        return Encoded([ids[: self.doc_room].copy() for ids in joined], [len(ids) for ids in joined])

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        """`maxdoclen` without the special tokens, for any query."""
        return self.doc_room

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        """`query`: the query alone; `doc`: each document alone."""
        query = self.query_template.fill(example.queries["query"][: self.query_room], kinds=(QUERY,))
        docs = [TokenSequence(*self._filled(tokens), doc) for doc, tokens in enumerate(example.docs["doc"])]
        return {"query": [TokenSequence(*query)], "doc": docs}

    def _joined(self, title: Ints, text: Ints) -> Ints:
        """A title, which does not have the token that ends it, that token, and the text."""
        return np.concatenate([title[title != self._end], self._end, text])

    def _filled(self, tokens: Ints) -> tuple[Ints, Ints, Ints]:
        """The sequence of a document's tokens; one that begins with the end of its title has none."""
        tokens = tokens[: self.doc_room]
        title = self._title(tokens) if self.titles else 0
        ids, segments, parts = self.template.fill(tokens[1:] if self.titles and not title else tokens, kinds=(DOC,))
        first = self.template.leading
        parts[first : first + title] = TITLE
        parts[first + title : first + title + bool(title)] = SPECIAL
        return ids, segments, parts

    def _title(self, tokens: Ints) -> int:
        """The number of tokens before the end of the title."""
        ends = np.flatnonzero(tokens == self._end)
        return int(ends[0]) if len(ends) else len(tokens)

    def save(self, directory: Path) -> None:
        """Write the tokenizer's files, and those of queries next to the encoder of queries, if that has a folder."""
        super().save(directory)
        if self.of_queries is not self.tokenizer or (directory / QUERY_MODEL).is_dir():
            (directory / QUERY_MODEL).mkdir(exist_ok=True)
            self.of_queries.save(directory / QUERY_MODEL)
