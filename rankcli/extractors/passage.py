"""Query and document in one sequence; the document is cut off where the sequence is full."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import EXTRACTORS, option
from rankcli.config.types import PositiveInt
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.subwords import SubwordExtractor, SubwordOptions, room
from rankcli.shapes import Example, Floats, TokenSequence
from rankcli.text.tokenizer import Tokenizer


@EXTRACTORS.register("passage")
@dataclass(frozen=True, kw_only=True)
class Passage(SubwordOptions):
    """One sequence per document: `[CLS] query [SEP] document [SEP]`, with the tokenizer's own special tokens.

    The query is cut off at `maxqlen` tokens, the document where the sequence has `maxseqlen`.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    maxseqlen: PositiveInt = option(256, "tokens of a sequence, special tokens included")
    maxqlen: PositiveInt = option(32, "tokens of the query")

    def __post_init__(self) -> None:
        if self.maxseqlen < self.maxqlen + 4:
            raise ValueError(
                f"maxseqlen must be at least maxqlen + 4 = {self.maxqlen + 4}: 3 special tokens and one of the document"
            )

    def build(self, ctx: ExtractorContext) -> PassageExtractor:
        """Open or train the tokenizer."""
        return PassageExtractor(self, self.open_tokenizer(ctx))


class PassageExtractor(SubwordExtractor):
    """The field `pair`, one sequence per document."""

    def __init__(self, options: Passage, tokenizer: Tokenizer) -> None:
        self.maxqlen, self.template = options.maxqlen, tokenizer.pair_template
        self.room = options.maxseqlen - self.template.special
        room(self.template, options.maxseqlen, options.maxqlen, "the document")
        super().__init__(tokenizer, {"pair": ("doc", options.maxseqlen)}, {"query": options.maxqlen, "doc": self.room})

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        """`maxseqlen` without the query and the special tokens."""
        return self.room - min(query_tokens["query"], self.maxqlen)

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        """`pair`: query and document, one sequence per document."""
        query = example.queries["query"][: self.maxqlen]
        budget = self.room - len(query)
        filled = [self.template.fill(query, doc[:budget]) for doc in example.docs["doc"]]
        return {"pair": [TokenSequence(*arrays, doc) for doc, arrays in enumerate(filled)]}
