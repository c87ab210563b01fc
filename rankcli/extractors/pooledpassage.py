"""Query and document in several sequences, one per passage of the document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import EXTRACTORS, option
from rankcli.config.types import PositiveInt
from rankcli.extractors._pairs import PairExtractor, PairOptions, WrittenScores, room_of
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.subwords import room
from rankcli.shapes import Example, Floats, Ints, TokenSequence
from rankcli.text.tokenizer import Tokenizer


@EXTRACTORS.register("pooledpassage")
@dataclass(frozen=True, kw_only=True)
class PooledPassage(PairOptions):
    """Up to `numpassages` sequences per document, one per window of `passagelen` tokens (Dai and Callan, 2019).

    A window starts every `stride` tokens until one reaches the end of the document; the last may be short. Windows
    after the first `numpassages` are left out. A document without tokens is one empty passage.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    maxseqlen: PositiveInt = option(256, "tokens of a sequence, special tokens included")
    maxqlen: PositiveInt = option(32, "tokens of the query")
    passagelen: PositiveInt = option(150, "tokens of a passage")
    stride: PositiveInt = option(100, "tokens from the start of a passage to the start of the next")
    numpassages: PositiveInt = option(16, "passages of a document, from its start")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride > self.passagelen:
            raise ValueError(
                f"stride must be at most passagelen = {self.passagelen}, or tokens between passages are never read"
            )
        least = self.maxqlen + self.passagelen + 3
        if self.maxseqlen < least:
            raise ValueError(f"maxseqlen must be at least maxqlen + passagelen + 3 = {least}, or passages are cut")

    def build(self, ctx: ExtractorContext) -> PooledPassageExtractor:
        """Open or train the tokenizer."""
        tokenizer = self.open_tokenizer(ctx)
        return PooledPassageExtractor(self, tokenizer, self.written(ctx, tokenizer))


class PooledPassageExtractor(PairExtractor):
    """The field `pair`, one sequence per passage; records have the document once, and it is cut into windows here."""

    def __init__(self, options: PooledPassage, tokenizer: Tokenizer, scores: WrittenScores | None = None) -> None:
        self.options, taken = options, options.maxqlen + options.passagelen + room_of(scores)
        room(tokenizer.pair_template, options.maxseqlen, taken - 1, "the passage")
        self.kept = options.passagelen + options.stride * (options.numpassages - 1)
        longest = taken + tokenizer.pair_template.special
        keep = {"query": options.maxqlen, "doc": self.kept}
        super().__init__(tokenizer, {"pair": ("doc", longest)}, keep, options.numpassages, scores)

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        """The tokens that all windows cover together, for any query."""
        return self.kept

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        """`pair`: query and passage, the passages of a document in order."""
        query = example.queries["query"][: self.options.maxqlen]
        texts = zip(self.written(example), example.docs["doc"], strict=True)
        return {
            "pair": [
                self.pair(query, score, passage, doc)
                for doc, (score, tokens) in enumerate(texts)
                for passage in self._passages(tokens)
            ]
        }

    def _passages(self, tokens: Ints) -> Iterator[Ints]:
        length, stride = self.options.passagelen, self.options.stride
        last = min(max(0, -(-(len(tokens) - length) // stride)), self.options.numpassages - 1)
        for index in range(last + 1):
            yield tokens[index * stride : index * stride + length]
