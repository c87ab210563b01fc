"""Query and document in one sequence; the document is cut off where the sequence is full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import EXTRACTORS, option
from rankcli.config.types import PositiveInt
from rankcli.extractors._pairs import PairExtractor, PairOptions, WrittenScores, room_of
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.subwords import room
from rankcli.shapes import Example, Floats, Ints, TokenSequence
from rankcli.text.template import Template
from rankcli.text.tokenizer import Tokenizer


@EXTRACTORS.register("passage")
@dataclass(frozen=True, kw_only=True)
class Passage(PairOptions):
    """One sequence per document: `[CLS] query [SEP] document [SEP]`, with the tokenizer's own special tokens.

    The query is cut off at `maxqlen` tokens, the document where the sequence has `maxseqlen`. Without `maxqlen`, the
    longer of the two is cut, and then both equally, as sentence-transformers does. With `run_score`, the first stage's
    score stands between them: `[CLS] query [SEP] score [SEP] document [SEP]` (CE_BM25, Askari et al., 2023).
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    maxseqlen: PositiveInt = option(256, "tokens of a sequence, special tokens included")
    maxqlen: PositiveInt | None = option(32, "tokens of the query; null cuts the longer of query and document")

    def __post_init__(self) -> None:
        super().__post_init__()
        least = (self.maxqlen or 1) + 4
        if self.maxseqlen < least:
            raise ValueError(
                f"maxseqlen must be at least maxqlen + 4 = {least}: special tokens and one of the document"
            )

    def build(self, ctx: ExtractorContext) -> PassageExtractor:
        """Open or train the tokenizer."""
        tokenizer = self.open_tokenizer(ctx)
        return PassageExtractor(self, tokenizer, self.written(ctx, tokenizer))


class PassageExtractor(PairExtractor):
    """The field `pair`, one sequence per document."""

    def __init__(
        self,
        options: Passage,
        tokenizer: Tokenizer,
        scores: WrittenScores | None = None,
        template: Template | None = None,
    ) -> None:
        self.maxqlen, taken, own = options.maxqlen, room_of(scores), template or tokenizer.pair_template
        self.room = options.maxseqlen - own.special - taken
        room(own, options.maxseqlen, (options.maxqlen or 1) + taken, "the document")
        keep = {"query": options.maxqlen or self.room, "doc": self.room}
        super().__init__(tokenizer, {"pair": ("doc", options.maxseqlen)}, keep, scores=scores, template=own)

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        """`maxseqlen` without the query and the special tokens; for a long query without `maxqlen`, as many as it has,
        so that `extract` sees which is longer.
        """
        query = min(query_tokens["query"], self.maxqlen or self.room)
        return self.room - query if self.maxqlen else max(self.room - query, query)

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        """`pair`: query and document, one sequence per document."""
        query = example.queries["query"][: self.maxqlen or self.room]
        docs = example.docs["doc"]
        texts = zip(self._cuts(query, docs), self.written(example), docs, strict=True)
        return {"pair": [self.pair(query[:q], score, doc[:d], n) for n, ((q, d), score, doc) in enumerate(texts)]}

    def _cuts(self, query: Ints, docs: Sequence[Ints]) -> list[tuple[int, int]]:
        """The tokens of the query and of the document in each sequence."""
        if self.maxqlen:
            return [(len(query), self.room - len(query))] * len(docs)
        return [longest_first(len(query), len(doc), self.room) for doc in docs]


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """The lengths of two texts once the longer one is cut, and then both equally, until they fit into `room` tokens.

    An odd token goes to the text that was longer, of two equal ones to the second: the rule of Hugging Face's
    tokenizers, strategy `longest_first`.
    """
    short, long = sorted((first, second))
    long = min(long, max(short, room - short))
    if short + long > room:
        short = room // 2
        long = room - short
    return (long, short) if first > second else (short, long)
