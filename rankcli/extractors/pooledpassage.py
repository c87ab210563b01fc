"""Query and document in several sequences, one per passage of the document."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from rankcli.config.registry import EXTRACTORS, option
from rankcli.config.types import NonNegativeInt, PositiveInt
from rankcli.extractors._pairs import PairExtractor, PairOptions, WrittenScores, room_of
from rankcli.extractors.base import ExtractorContext, sequence_spec
from rankcli.extractors.subwords import room
from rankcli.shapes import Example, Floats, Ints, TokenSequence
from rankcli.text.tokenizer import Tokenizer


@EXTRACTORS.register("pooledpassage")
@dataclass(frozen=True, kw_only=True)
class PooledPassage(PairOptions):
    """Up to `numpassages` sequences per document, one per window of `passagelen` tokens (Dai and Callan, 2019).

    A window starts every `stride` tokens until one reaches the end of the document; the last may be short. A document
    without tokens is one empty passage. Of more than `numpassages` windows, `keep` takes the `first`, or the first, the
    last, and some of the others, which are `sampled` by a hash of the document's id (PARADE, Li et al., 2020). Training
    reads all of them, or one of each document: a `random` one, or the `best`, that with most words of the query.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    maxseqlen: PositiveInt = option(256, "tokens of a sequence, special tokens included")
    maxqlen: PositiveInt = option(32, "tokens of the query")
    passagelen: PositiveInt = option(150, "tokens of a passage")
    stride: PositiveInt = option(100, "tokens from the start of a passage to the start of the next")
    numpassages: PositiveInt = option(16, "passages of a document")
    keep: Literal["first", "sampled"] = option("first", "the passages to take of a document with more")
    maxdoclen: PositiveInt = option(5000, "with `keep: sampled`, tokens of a document to take passages from")
    titlelen: NonNegativeInt = option(0, "tokens of the document's start, its title, to put before each later passage")
    training: Literal["all", "random", "best"] = option("all", "the passages of a document that training reads")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride > self.passagelen:
            raise ValueError(
                f"stride must be at most passagelen = {self.passagelen}, or tokens between passages are never read"
            )
        least = self.maxqlen + self.titlelen + self.passagelen + 3
        if self.maxseqlen < least:
            title = "titlelen + " if self.titlelen else ""
            raise ValueError(
                f"maxseqlen must be at least maxqlen + {title}passagelen + 3 = {least}, or passages are cut"
            )

    def build(self, ctx: ExtractorContext) -> PooledPassageExtractor:
        """Open or train the tokenizer."""
        tokenizer = self.open_tokenizer(ctx)
        return PooledPassageExtractor(self, tokenizer, self.written(ctx, tokenizer))


class PooledPassageExtractor(PairExtractor):
    """The field `pair`, one sequence per passage; records have the document once, and it is cut into windows here."""

    def __init__(self, options: PooledPassage, tokenizer: Tokenizer, scores: WrittenScores | None = None) -> None:
        self.options, self._one = options, False
        taken = options.maxqlen + options.titlelen + options.passagelen + room_of(scores)
        room(tokenizer.pair_template, options.maxseqlen, taken - 1, "the passage")
        reached = options.passagelen + options.stride * (options.numpassages - 1)
        self.kept = reached if options.keep == "first" else max(options.maxdoclen, reached)
        longest = taken + tokenizer.pair_template.special
        keep = {"query": options.maxqlen, "doc": self.kept}
        super().__init__(tokenizer, {"pair": ("doc", longest)}, keep, options.numpassages, scores)

    @property
    def training(self) -> PooledPassageExtractor:
        """The extractor of training batches, which may have one passage of each document."""
        if self.options.training == "all":
            return self
        other = copy.copy(self)
        other._one, other.fields = True, {"pair": sequence_spec(self, "pair")._replace(most=1)}
        return other

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        """The tokens that windows may reach, for any query."""
        return self.kept

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        """`pair`: query and passage, the passages of a document in order."""
        query = example.queries["query"][: self.options.maxqlen]
        texts = zip(self.written(example), example.docs["doc"], strict=True)
        return {
            "pair": [
                self.pair(query, score, passage, doc)
                for doc, (score, tokens) in enumerate(texts)
                for passage in self._taken(example, query, doc, tokens[: self.kept])
            ]
        }

    def _taken(self, example: Example, query: Ints, doc: int, tokens: Ints) -> Sequence[Ints]:
        passages = list(self._passages(tokens, example.docids[doc]))
        if not self._one or len(passages) == 1:
            return passages
        if self.options.training == "best":
            return [max(passages, key=lambda passage: len(np.intersect1d(passage, query)))]
        return [passages[_hash(example.qid, *example.docids, str(doc)) % len(passages)]]

    def _passages(self, tokens: Ints, docid: str) -> Iterator[Ints]:
        length, stride, title = self.options.passagelen, self.options.stride, tokens[: self.options.titlelen]
        last = max(0, -(-(len(tokens) - length) // stride))
        for index in self._windows(last, docid):
            passage = tokens[index * stride : index * stride + length]
            yield np.concatenate([title, passage]) if index and len(title) else passage

    def _windows(self, last: int, docid: str) -> Sequence[int]:
        """The numbers of the windows to take of 0 to `last`."""
        most = self.options.numpassages
        if last < most or self.options.keep == "first":
            return range(min(last + 1, most))
        drawn = sorted(range(1, last), key=lambda index: _hash(docid, str(index)))
        return sorted([0, last, *drawn[: most - 2]])[:most]


def _hash(*words: str) -> int:
    joined = "\0".join(words).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest(), "big")
