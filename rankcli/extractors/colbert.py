"""Query and documents in sequences of their own, as ColBERT reads them: with markers, and queries filled up."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rankcli.config.registry import EXTRACTORS, option
from rankcli.config.types import PositiveInt
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.subwords import SubwordExtractor, SubwordOptions, known_id, room
from rankcli.shapes import DOC, QUERY, SPECIAL, UNSEEN, Example, Floats, Ints, TokenSequence
from rankcli.text.tokenizer import Tokenizer

_LEAST = 4  # [CLS], the marker, [SEP] and one token of the text


@EXTRACTORS.register("colbert")
@dataclass(frozen=True, kw_only=True)
class ColBERTTexts(SubwordOptions):
    """The query as `[CLS] [Q] query [SEP] [MASK] ...`, filled up to `maxqlen`, and each document as
    `[CLS] [D] document [SEP]` (Khattab and Zaharia, SIGIR 2020, 3.2 and 3.3).

    Markers are tokens of the vocabulary. Punctuation of documents, any of the 32 signs of ASCII, is read but matches
    nothing. As in the authors' code, no token attends to a [MASK], unless with `attendmask`.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("query", "doc")
    maxqlen: PositiveInt = option(32, "tokens of the query's sequence, special tokens and [MASK]s included")
    maxdoclen: PositiveInt = option(180, "tokens of a document's sequence, special tokens included")
    querymarker: str = option("[unused0]", "the token that marks queries")
    docmarker: str = option("[unused1]", "the token that marks documents")
    attendmask: bool = option(False, "whether tokens attend to [MASK]s")
    punctuation: bool = option(False, "whether punctuation of documents can match")

    def __post_init__(self) -> None:
        for name, length in (("maxqlen", self.maxqlen), ("maxdoclen", self.maxdoclen)):
            if length < _LEAST:
                raise ValueError(f"{name} must be at least {_LEAST}: three special tokens and one of the text")

    def build(self, ctx: ExtractorContext) -> ColBERTExtractor:
        """Open the tokenizer, or train one that has the markers."""
        return ColBERTExtractor(self, self.open_tokenizer(ctx, (self.querymarker, self.docmarker)))


class ColBERTExtractor(SubwordExtractor):
    """The fields `query`, one sequence per group, and `doc`, one per document; the table `matches`, which is 1 for the
    tokens of documents that can match.
    """

    def __init__(self, options: ColBERTTexts, tokenizer: Tokenizer) -> None:
        self.options = options
        self._mask = known_id(tokenizer, "[MASK]", "<mask>", where="extractor.tokenizer")
        single = tokenizer.single_template
        self._query = single.marked(known_id(tokenizer, options.querymarker, where="extractor.querymarker"))
        self._doc = single.marked(known_id(tokenizer, options.docmarker, where="extractor.docmarker"))
        self._query_room = room(self._query, options.maxqlen, 0, "the query")
        self._doc_room = room(self._doc, options.maxdoclen, 0, "the document")
        keep = {"query": self._query_room, "doc": self._doc_room}
        super().__init__(tokenizer, {"query": ("query", options.maxqlen), "doc": ("doc", options.maxdoclen)}, keep)
        self.tables: Mapping[str, Floats] = {"matches": _matches(tokenizer, options.punctuation)}

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        """`maxdoclen` without the special tokens, for any query."""
        return self._doc_room

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        """`query`: the query, filled up with [MASK]s; `doc`: each document alone."""
        query = self._query.fill(example.queries["query"][: self._query_room], kinds=(QUERY,))
        filled = [self._doc.fill(doc[: self._doc_room], kinds=(DOC,)) for doc in example.docs["doc"]]
        docs = [TokenSequence(*arrays, doc) for doc, arrays in enumerate(filled)]
        return {"query": [TokenSequence(*self._expanded(*query))], "doc": docs}

    def _expanded(self, ids: Ints, segments: Ints, parts: Ints) -> tuple[Ints, Ints, Ints]:
        """Return the arrays of a query with its [MASK]s."""
        filled, kind = (0, self.options.maxqlen - len(ids)), SPECIAL if self.options.attendmask else UNSEEN
        return (
            np.pad(ids, filled, constant_values=self._mask),
            np.pad(segments, filled),
            np.pad(parts, filled, constant_values=kind),
        )


def _matches(tokenizer: Tokenizer, punctuation: bool) -> Floats:
    found = np.ones(tokenizer.vocab_size, np.float32)
    if not punctuation:
        # looked up, not tokenised: a sign that the vocabulary lacks must not take all other unknown words with it
        signs = [tokenizer.id_of(sign) for sign in string.punctuation]
        found[[sign for sign in signs if sign is not None]] = 0
    return found
