"""Query and document in several sequences, one per sentence of the document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rankcli.config.registry import EXTRACTORS, option
from rankcli.config.types import PositiveInt
from rankcli.extractors._pairs import PairExtractor, PairOptions, WrittenScores, room_of
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.subwords import room
from rankcli.shapes import Encoded, Example, Floats, Ints, Record, TokenSequence
from rankcli.text.tokenizer import Tokenizer

# a full stop, question or exclamation mark, perhaps with quotes or brackets, before a capital or a digit
_END = re.compile(r"""[.!?]["')\]]*(?=\s+["'(\[]*[A-Z0-9])""")


@EXTRACTORS.register("sentences")
@dataclass(frozen=True, kw_only=True)
class Sentences(PairOptions):
    """Up to `numsentences` sequences per document, one per sentence, as in Birch (Yilmaz et al., 2019).

    A sentence ends at `.`, `?` or `!` and white space, where a capital or a digit follows. One of more than
    `sentencelen` tokens goes on in further sequences. A document without words is one empty sentence.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    maxqlen: PositiveInt = option(32, "tokens of the query")
    sentencelen: PositiveInt = option(96, "tokens of a sentence")
    numsentences: PositiveInt = option(64, "sentences of a document, from its start")

    def build(self, ctx: ExtractorContext) -> SentencesExtractor:
        """Open or train the tokenizer."""
        tokenizer = self.open_tokenizer(ctx)
        return SentencesExtractor(self, tokenizer, self.written(ctx, tokenizer))


class SentencesExtractor(PairExtractor):
    """The field `pair`, one sequence per sentence. In records the special token that ends a text separates them."""

    def __init__(self, options: Sentences, tokenizer: Tokenizer, scores: WrittenScores | None = None) -> None:
        self.options, template = options, tokenizer.pair_template
        self.kept = options.numsentences * (options.sentencelen + 1) - 1
        longest = options.maxqlen + options.sentencelen + template.special + room_of(scores)
        keep = {"query": options.maxqlen, "doc": self.kept}
        super().__init__(tokenizer, {"pair": ("doc", longest)}, keep, options.numsentences, scores)
        room(template, longest, longest - template.special - 1, "the sentence")
        self._end = np.array(template.pieces[-1][0][-1:], np.int32)

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        """The tokens of all sentences, with what separates them."""
        return self.kept

    def encode(self, stream: str, records: Sequence[Record]) -> Encoded:
        """The tokens of each text; those of documents with a separator between sentences."""
        if stream == "query":
            return super().encode(stream, records)
        split = [sentences_of(record.text) for record in records]
        tokens = iter(self.tokenizer.encode([sentence for sentences in split for sentence in sentences]))
        found = [[next(tokens) for _ in sentences] for sentences in split]
        return Encoded([self._joined(each) for each in found], [sum(map(len, each)) for each in found])

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        """`pair`: query and sentence, the sentences of a document in order."""
        query = example.queries["query"][: self.options.maxqlen]
        texts = zip(self.written(example), example.docs["doc"], strict=True)
        return {
            "pair": [
                self.pair(query, score, sentence, doc)
                for doc, (score, tokens) in enumerate(texts)
                for sentence in self._apart(tokens)
            ]
        }

    def _joined(self, sentences: Sequence[Ints]) -> Ints:
        pieces = [piece for sentence in sentences for piece in self._pieces(sentence)][: self.options.numsentences]
        between = [each for piece in pieces for each in (self._end, piece)]
        return np.concatenate(between[1:] or [self._end[:0]])

    def _pieces(self, sentence: Ints) -> Iterator[Ints]:
        """A sentence without the separator, in parts of `sentencelen` tokens; nothing if it has no tokens."""
        words, length = sentence[sentence != self._end], self.options.sentencelen
        return (words[start : start + length] for start in range(0, len(words), length))

    def _apart(self, tokens: Ints) -> list[Ints]:
        ends = np.flatnonzero(tokens == self._end)
        found = [sentence[sentence != self._end][: self.options.sentencelen] for sentence in np.split(tokens, ends)]
        return found[: self.options.numsentences]


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text, at least one; together they are the text."""
    ends = [found.end() for found in _END.finditer(text)]
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
