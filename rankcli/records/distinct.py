"""Each query and document of many groups once, for rerankers that make vectors of texts alone.

Texts of one level are numbered in the order in which they come. They are laid out in batches of one field.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rankcli.extractors.base import Extractor, sequence_spec
from rankcli.records.prefetch import prefetch
from rankcli.records.reader import NOTHING_KNOWN, Known, laid_out
from rankcli.records.tokens import encoded_texts
from rankcli.shapes import Example, Floats, Ints, Layout, Record, TokenSequence

SORT_TEXTS = 20_000  # texts that are sorted by length together
_NOTHING: Ints = np.zeros(0, np.int32)


class Part(NamedTuple):
    """Texts of one field: text `first + n` has `tokens[n]`, and `pairs[n]` pairs can be scored when it is encoded."""

    field: str
    first: int
    tokens: list[Ints]
    pairs: list[int]


class TextBatch(NamedTuple):
    """Texts of one field, laid out for each replica: `numbers[r]` are those of replica r.

    Where base vectors are known, these take the places of layouts.
    """

    field: str
    layouts: list[Layout | Floats]
    numbers: list[list[int]]
    pairs: int


class Division(NamedTuple):
    """Texts per batch, replicas that share them, and whether shapes are fixed."""

    size: int
    replicas: int = 1
    static: bool = False


def text_batches(
    parts: Iterable[Part], extractor: Extractor, division: Division, known: Known = NOTHING_KNOWN
) -> Generator[TextBatch, None, None]:
    """Yield batches of `size` texts, made ahead in a thread. The last one of a part may be smaller.

    They are a pure function of the texts of a part, whatever their order: these are sorted by length, longest first,
    and equally long ones by their tokens. `known` gives the base vectors of sequences by field.
    """
    return prefetch(_text_batches(parts, extractor, division, known))


def _text_batches(parts: Iterable[Part], extractor: Extractor, division: Division, known: Known) -> Iterator[TextBatch]:
    for part in parts:
        for own in _dealt([_rank(tokens) for tokens in part.tokens], division):
            sequences = [[sequence_of(extractor, part.field, part.tokens[n]) for n in each] for each in own]
            batch = _batch(part.field, own, sequences, extractor, division, known)
            numbers = [[part.first + n for n in each] for each in own]
            yield batch._replace(numbers=numbers, pairs=sum(part.pairs[n] for each in own for n in each))


def sequence_batches(
    field: str, sequences: Sequence[TokenSequence], extractor: Extractor, division: Division
) -> Generator[TextBatch, None, None]:
    """Yield batches of the sequences of a field, in the order that `text_batches` has, with their numbers."""
    owns = _dealt([_rank(sequence.ids) for sequence in sequences], division)
    return prefetch(
        _batch(field, own, [[sequences[n] for n in each] for each in own], extractor, division, NOTHING_KNOWN)
        for own in owns
    )


def _dealt(ranks: Sequence[tuple[int, bytes]], division: Division) -> Iterator[list[list[int]]]:
    """Yield the numbers of texts, in the order of their ranks, batch by batch and dealt to the replicas."""
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    for start in range(0, len(order), division.size):
        chunk = order[start : start + division.size]
        yield [chunk[r :: division.replicas] for r in range(division.replicas)]


def _batch(
    field: str,
    numbers: list[list[int]],
    sequences: list[list[TokenSequence]],
    extractor: Extractor,
    division: Division,
    known: Known,
) -> TextBatch:
    spec = sequence_spec(extractor, field)
    rows = -(-(division.size if division.static else sum(map(len, sequences))) // division.replicas)
    layouts = laid_out(sequences, rows, spec, division.static, extractor, known.get(field))
    return TextBatch(field, layouts, numbers, 0)


def _rank(tokens: Ints) -> tuple[int, bytes]:
    return -len(tokens), tokens.astype(np.int32).tobytes()


def sequence_of(extractor: Extractor, field: str, tokens: Ints) -> TokenSequence:
    """The sequence of a text in a field, made of this text alone."""
    spec = sequence_spec(extractor, field)
    given = {name: tokens if name == spec.stream else _NOTHING for name in extractor.streams}
    queries = {name: given[name] for name, stream in extractor.streams.items() if stream.level == "query"}
    docs = {name: (given[name],) for name, stream in extractor.streams.items() if stream.level == "doc"}
    made = extractor.extract(Example("", ("",), np.zeros(1, np.float32), queries, docs))
    (sequence,) = made[field]
    return sequence


def tokens_of(extractor: Extractor, field: str, records: Sequence[Record]) -> list[Ints]:
    """The tokens of texts, as those of examples are."""
    stream = sequence_spec(extractor, field).stream
    tokens = encoded_texts(extractor, stream, records).tokens
    if extractor.streams[stream].level == "query":
        return tokens
    most = extractor.budget(stream, {name: 0 for name, spec in extractor.streams.items() if spec.level == "query"})
    return [each[:most] for each in tokens]


class Distinct:
    """The distinct queries and documents of examples.

    `groups` has the ids of all groups so far, `queries` and `docs` the number of each text by its id.
    """

    def __init__(self, extractor: Extractor, query: str, doc: str) -> None:
        self.groups: list[tuple[str, tuple[str, ...]]] = []
        self.queries: dict[str, int] = {}
        self.docs: dict[str, int] = {}
        self._fields, self._streams = (query, doc), [sequence_spec(extractor, name).stream for name in (query, doc)]

    def parts(self, examples: Iterable[Example]) -> Iterator[Part]:
        """Yield the texts of `examples` that did not come before, in parts of about `SORT_TEXTS` documents."""
        queries, docs = self._begin()
        for example in examples:
            self.groups.append((example.qid, example.docids))
            _see(self.queries, queries, example.qid, example.queries[self._streams[0]], 0)
            for docid, tokens in zip(example.docids, example.docs[self._streams[1]], strict=True):
                _see(self.docs, docs, docid, tokens, 1)
            if len(docs.tokens) >= SORT_TEXTS:
                yield from (queries, docs)
                queries, docs = self._begin()
        yield from (queries, docs)

    def _begin(self) -> tuple[Part, Part]:
        query, doc = self._fields
        return Part(query, len(self.queries), [], []), Part(doc, len(self.docs), [], [])


def _see(numbers: dict[str, int], part: Part, name: str, tokens: Ints, pairs: int) -> None:
    """Number a text and take it up if it is new; count its pairs if it is of this part."""
    number = numbers.setdefault(name, len(numbers))
    if number == part.first + len(part.tokens):
        part.tokens.append(tokens)
        part.pairs.append(0)
    if number >= part.first:
        part.pairs[number - part.first] += pairs
