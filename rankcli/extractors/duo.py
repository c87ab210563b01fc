"""A query with two documents in one sequence, for every ordered pair of its documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import EXTRACTORS, option
from rankcli.config.types import PositiveInt
from rankcli.errors import ConfigError
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.subwords import SubwordExtractor, SubwordOptions, room
from rankcli.shapes import DOC, QUERY, Example, Floats, Ints, TokenSequence
from rankcli.text.template import Template
from rankcli.text.tokenizer import Tokenizer


@EXTRACTORS.register("duo")
@dataclass(frozen=True, kw_only=True)
class Duo(SubwordOptions):
    """`[CLS] query [SEP] document [SEP] other [SEP]` for each other document of the query (duoBERT, Nogueira et al.,
    2019): K (K - 1) sequences for K documents.

    The query is cut off at `maxqlen` tokens, both documents at half of what is left of `maxseqlen`.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    maxseqlen: PositiveInt = option(512, "tokens of a sequence, special tokens included")
    maxqlen: PositiveInt = option(62, "tokens of the query")
    numdocs: PositiveInt = option(30, "documents of a query at most; more are refused, as cost grows with the square")

    def build(self, ctx: ExtractorContext) -> DuoExtractor:
        """Open or train the tokenizer."""
        return DuoExtractor(self, self.open_tokenizer(ctx))


class DuoExtractor(SubwordExtractor):
    """The field `pair`: the sequences of document 0 with 1, 2, ..., those of 1 with 0, 2, ..., and so on. A document
    without others is paired with itself.
    """

    def __init__(self, options: Duo, tokenizer: Tokenizer) -> None:
        self.options, self.template = options, of_three(tokenizer.pair_template)
        self.room = options.maxseqlen - self.template.special
        room(self.template, options.maxseqlen, options.maxqlen + 1, "the documents")
        keep = {"query": options.maxqlen, "doc": self.room // 2}
        super().__init__(tokenizer, {"pair": ("doc", options.maxseqlen)}, keep, max(1, options.numdocs - 1))

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        """Half of `maxseqlen` without the query and the special tokens."""
        return (self.room - min(query_tokens["query"], self.options.maxqlen)) // 2

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        """`pair`: query, document and another document."""
        self._check(example)
        query = example.queries["query"][: self.options.maxqlen]
        most = (self.room - len(query)) // 2
        docs = [tokens[:most] for tokens in example.docs["doc"]]
        return {"pair": [self._sequence(query, docs, *pair) for pair in ordered_pairs(len(docs))]}

    def _sequence(self, query: Ints, docs: list[Ints], doc: int, other: int) -> TokenSequence:
        return TokenSequence(*self.template.fill(query, docs[doc], docs[other], kinds=(QUERY, DOC, DOC)), doc)

    def _check(self, example: Example) -> None:
        count, most = len(example.docids), self.options.numdocs
        if count > most:
            what = f"query {example.qid!r} has {count} documents, but pairs are made of {most} at most"
            fix = (
                f"rerank fewer: trainer.threshold and testthreshold, or --depth, of {most}; or raise extractor.numdocs"
            )
            raise ConfigError(what, where="extractor.numdocs", fix=fix)


def ordered_pairs(count: int) -> list[tuple[int, int]]:
    """Return all pairs of different numbers below `count`, in order; (0, 0) of one number."""
    return [(i, j) for i in range(count) for j in range(count) if i != j] or [(0, 0)] * count


def of_three(pair: Template) -> Template:
    """Return the template of three texts: the third is separated as the second is, and has its segment."""
    first, second = pair.segments
    start, between, end = pair.pieces
    return Template((start, between, (between[0], (second,) * len(between[0])), end), (first, second, second))
