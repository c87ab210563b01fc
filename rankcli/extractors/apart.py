"""Query and document in separate sequences, for models that encode them separately."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rankcli.config.registry import EXTRACTORS, option
from rankcli.config.types import PositiveInt
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.subwords import SubwordExtractor, SubwordOptions, room
from rankcli.shapes import DOC, QUERY, Example, Floats, Level, SequenceSpec, StreamSpec, TokenSequence
from rankcli.text.tokenizer import Tokenizer, has_tokenizer

QUERY_MODEL = "query.pretrained"  # the folder of a saved model with the encoder of queries


@EXTRACTORS.register("apart")
@dataclass(frozen=True, kw_only=True)
class Apart(SubwordOptions):
    """The query and each document as `[CLS] text [SEP]`, with the tokenizer's own special tokens. Queries have the
    tokenizer of `reranker.query.pretrained`, where that names a model.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("query", "doc")
    maxqlen: PositiveInt = option(32, "tokens of the query's sequence, special tokens included")
    maxdoclen: PositiveInt = option(128, "tokens of a document's sequence, special tokens included")

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
    """The fields `query`, one sequence per group, and `doc`, one per document."""

    def __init__(self, options: Apart, tokenizer: Tokenizer, of_queries: Tokenizer) -> None:
        self.template, self.query_template = tokenizer.single_template, of_queries.single_template
        self.query_room = room(self.query_template, options.maxqlen, 0, "the query")
        self.doc_room = room(self.template, options.maxdoclen, 0, "the document")
        lengths: dict[str, tuple[Level, int]] = {"query": ("query", options.maxqlen), "doc": ("doc", options.maxdoclen)}
        super().__init__(tokenizer, lengths, {"query": self.query_room, "doc": self.doc_room})
        self.of_queries = of_queries
        if of_queries is not tokenizer:
            both = tokenizer.fingerprint + of_queries.fingerprint
            self.fingerprint = hashlib.sha256(both.encode()).hexdigest()
            self.streams = {**self.streams, "query": StreamSpec("query", of_queries.vocab_size)}
            self.fields = {**self.fields, "query": SequenceSpec("query", "query", options.maxqlen, of_queries.pad_id)}

    def tokenizer_of(self, stream: str) -> Tokenizer:
        """The tokenizer of queries, or of documents."""
        return self.of_queries if stream == "query" else self.tokenizer

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        """`maxdoclen` without the special tokens, for any query."""
        return self.doc_room

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        """`query`: the query alone; `doc`: each document alone."""
        query = self.query_template.fill(example.queries["query"][: self.query_room], kinds=(QUERY,))
        filled = [self.template.fill(doc[: self.doc_room], kinds=(DOC,)) for doc in example.docs["doc"]]
        docs = [TokenSequence(*arrays, doc) for doc, arrays in enumerate(filled)]
        return {"query": [TokenSequence(*query)], "doc": docs}

    def save(self, directory: Path) -> None:
        """Write the tokenizer's files, and those of queries next to the encoder of queries, if that has a folder."""
        super().save(directory)
        if self.of_queries is not self.tokenizer or (directory / QUERY_MODEL).is_dir():
            (directory / QUERY_MODEL).mkdir(exist_ok=True)
            self.of_queries.save(directory / QUERY_MODEL)
