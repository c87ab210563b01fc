"""The contract of extractors: from texts to tokens, and from the tokens of a group to fields."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from rankcli.shapes import (
    DenseSpec,
    Encoded,
    Example,
    FieldSpec,
    Floats,
    Record,
    SequenceSpec,
    StreamSpec,
    TokenSequence,
)

Made = TypeVar("Made")


@dataclass(frozen=True)
class ExtractorContext:
    """The inputs of an extractor besides its options.

    `pretrained` is a directory with tokenizer files (the reranker's unless the extractor names its own), `query` that
    of the reranker's other encoder for queries, if it has one. `texts` iterates over the documents' texts, to learn a
    vocabulary from. `features` iterates over the features of the judged documents of each training query, float32 [K,
    width], if the source has any. `scores` returns the first stage's scores of the training queries' candidates, [C],
    if there are any. `saved` is a directory that `Extractor.save` wrote; if it is given, nothing else is
    read.
    Extractors that are built from one context share the results of `once`.
    """

    pretrained: Path | None = None
    query: Path | None = None
    texts: Callable[[], Iterable[str]] | None = None
    features: Callable[[], Iterator[Floats]] | None = None
    scores: Callable[[], Floats] | None = None
    saved: Path | None = None
    made: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return `make()`, called once per `key` and then cached: a tokenizer is large, and slow to train."""
        if key not in self.made:
            self.made[key] = make()
        found: Made = self.made[key]
        return found


class Extractor(Protocol):
    """Turns texts into tokens (once per text, in batches), and the tokens of a group into the fields of a reranker."""

    streams: Mapping[str, StreamSpec]  # by name; empty if it reads no text
    fields: Mapping[str, FieldSpec]
    columns: tuple[str, ...]  # the columns of an example that it reads; sampler or source must give them
    # per token id of a field: "idf" [vocab_size]; "vectors" [vocab_size - unknown, D], before the first training only
    tables: Mapping[str, Floats]
    fingerprint: str  # SHA-256 of all that decides the tokens, vocabulary and rules; part of cache ids

    def encode(self, stream: str, records: Sequence[Record]) -> Encoded:
        """Token ids of each text, without special tokens, cut off at the most that the stream ever uses."""

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        """The most tokens of a document that are used in `stream`, given the query's tokens in each query stream."""

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        """The fields of one group by name: token sequences, in the order of the documents, at least one for each; or
        numbers, float32 [K, width].
        """

    def save(self, directory: Path) -> None:
        """Write the files that `ExtractorContext(saved=directory)` needs; a tokenizer as files of Hugging Face."""


def of_training(extractor: Extractor) -> Extractor:
    """The extractor of training batches: its attribute `training`, if it has one, which reads the same records."""
    found: Extractor = getattr(extractor, "training", extractor)
    return found


def reads_titles(extractor: Extractor) -> bool:
    """True if tokens depend on which part of a document is its title."""
    return any(stream.titles for stream in extractor.streams.values())


def sequence_spec(extractor: Extractor, field: str) -> SequenceSpec:
    """The spec of a field of token sequences; ValueError if the field is numbers."""
    spec = extractor.fields[field]
    if isinstance(spec, DenseSpec):
        raise ValueError(f"the field {field!r} holds numbers, not token sequences")
    return spec


def vocab_size(extractor: Extractor, field: str) -> int:
    """The number of token ids that occur in a field."""
    return ids_of(sequence_spec(extractor, field), extractor)


def ids_of(spec: SequenceSpec, extractor: Extractor) -> int:
    """The number of token ids that occur in a field with this spec."""
    return extractor.streams[spec.stream].vocab_size if spec.vocab_size is None else spec.vocab_size


@dataclass(frozen=True, kw_only=True)
class ExtractorOptions:
    """The base of every extractor's options, with the constants that the registry and the config check read."""

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ()  # the names of the fields that it makes

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return ()
