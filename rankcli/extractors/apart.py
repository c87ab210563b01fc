"""Query and document in separate sequences, for models that encode them separately."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import EXTRACTORS, option
from rankcli.config.types import PositiveInt
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.subwords import SubwordExtractor, SubwordOptions, room
from rankcli.shapes import DOC, QUERY, Example, Floats, Level, TokenSequence
from rankcli.text.tokenizer import Tokenizer


@EXTRACTORS.register("apart")
@dataclass(frozen=True, kw_only=True)
class Apart(SubwordOptions):
    """The query and each document as `[CLS] text [SEP]`, with the tokenizer's own special tokens."""

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("query", "doc")
    maxqlen: PositiveInt = option(32, "tokens of the query's sequence, special tokens included")
    maxdoclen: PositiveInt = option(128, "tokens of a document's sequence, special tokens included")

    def __post_init__(self) -> None:
        for name, length in (("maxqlen", self.maxqlen), ("maxdoclen", self.maxdoclen)):
            if length < 3:
                raise ValueError(f"{name} must be at least 3: two special tokens and one of the text")

    def build(self, ctx: ExtractorContext) -> ApartExtractor:
        """Open or train the tokenizer."""
        return ApartExtractor(self, self.open_tokenizer(ctx))


class ApartExtractor(SubwordExtractor):
    """The fields `query`, one sequence per group, and `doc`, one per document."""

    def __init__(self, options: Apart, tokenizer: Tokenizer) -> None:
        self.template = tokenizer.single_template
        self.query_room = room(self.template, options.maxqlen, 0, "the query")
        self.doc_room = room(self.template, options.maxdoclen, 0, "the document")
        lengths: dict[str, tuple[Level, int]] = {"query": ("query", options.maxqlen), "doc": ("doc", options.maxdoclen)}
        super().__init__(tokenizer, lengths, {"query": self.query_room, "doc": self.doc_room})

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        """`maxdoclen` without the special tokens, for any query."""
        return self.doc_room

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        """`query`: the query alone; `doc`: each document alone."""
        query = self.template.fill(example.queries["query"][: self.query_room], kinds=(QUERY,))
        filled = [self.template.fill(doc[: self.doc_room], kinds=(DOC,)) for doc in example.docs["doc"]]
        docs = [TokenSequence(*arrays, doc) for doc, arrays in enumerate(filled)]
        return {"query": [TokenSequence(*query)], "doc": docs}
