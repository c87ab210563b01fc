"""Query and document in one text, each after a few words that say what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rankcli.config.registry import EXTRACTORS, option
from rankcli.config.types import PositiveInt
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.subwords import SubwordExtractor, SubwordOptions, room
from rankcli.shapes import DOC, QUERY, SPECIAL, Example, Floats, Ints, TokenSequence
from rankcli.text.tokenizer import Tokenizer


@EXTRACTORS.register("prompted")
@dataclass(frozen=True, kw_only=True)
class Prompted(SubwordOptions):
    """One sequence per document: `Query: query Document: document`, with the tokenizer's special tokens of one text.

    The query is cut off at `maxqlen` tokens, the document where the sequence has `maxseqlen`. The words are those of
    RankT5 (Zhuang et al., 2023).
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    maxseqlen: PositiveInt = option(256, "tokens of a sequence, prompts and special tokens included")
    maxqlen: PositiveInt = option(32, "tokens of the query")
    query_prompt: str = option("Query:", "the words before the query")
    doc_prompt: str = option("Document:", "the words before the document")

    def build(self, ctx: ExtractorContext) -> PromptedExtractor:
        """Open or train the tokenizer."""
        return PromptedExtractor(self, self.open_tokenizer(ctx))


class PromptedExtractor(SubwordExtractor):
    """The field `pair`, one sequence per document. Prompts are special tokens."""

    def __init__(self, options: Prompted, tokenizer: Tokenizer) -> None:
        self.maxqlen, self.template = options.maxqlen, tokenizer.single_template
        self.before = tokenizer.encode([options.query_prompt, options.doc_prompt])
        taken = sum(map(len, self.before))
        self.room = room(self.template, options.maxseqlen, taken + options.maxqlen, "the document") + options.maxqlen
        keep = {"query": options.maxqlen, "doc": self.room}
        super().__init__(tokenizer, {"pair": ("doc", options.maxseqlen)}, keep)

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        """`maxseqlen` without the query, the prompts and the special tokens."""
        return self.room - min(query_tokens["query"], self.maxqlen)

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        """`pair`: query and document, one sequence per document."""
        query = example.queries["query"][: self.maxqlen]
        docs = [tokens[: self.room - len(query)] for tokens in example.docs["doc"]]
        return {"pair": [self._sequence(query, tokens, doc) for doc, tokens in enumerate(docs)]}

    def _sequence(self, query: Ints, document: Ints, doc: int) -> TokenSequence:
        texts = [self.before[0], query, self.before[1], document]
        ids, segments, parts = self.template.fill(np.concatenate(texts))
        start = len(self.template.pieces[0][0])
        kinds = np.repeat([SPECIAL, QUERY, SPECIAL, DOC], [len(text) for text in texts])
        parts[start : start + len(kinds)] = kinds
        return TokenSequence(ids, segments, parts, doc)
