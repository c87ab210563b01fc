"""What an extractor is, and what it is built from."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
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
    """What an extractor may be built from.

    `pretrained` is a directory with tokenizer files (the reranker's unless the extractor names its own), `texts`
    iterates over the documents' texts, to learn a vocabulary from. `saved` is a directory that `Extractor.save` wrote:
    where it is given, nothing else is looked at. Extractors that are built from one context share what `once` made.
    """

    pretrained: Path | None = None
    texts: Callable[[], Iterable[str]] | None = None
    saved: Path | None = None
    made: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` returned when it was first asked for under `key`: a tokenizer is large, and slow to train."""
        if key not in self.made:
            self.made[key] = make()
        found: Made = self.made[key]
        return found


class Extractor(Protocol):
    """Texts to tokens (once per text, in batches), and the tokens of a group to the fields that a reranker reads."""

    streams: Mapping[str, StreamSpec]  # by name; empty where no text is read
    fields: Mapping[str, FieldSpec]
    columns: tuple[str, ...]  # that it reads of an example; somebody must give them
    tables: Mapping[str, Floats]  # per token id of a stream: "idf" [vocab_size], "vectors" [vocab_size, D]
    fingerprint: str  # sha256 of what decides the tokens: vocabulary and rules; part of cache ids

    def encode(self, stream: str, records: Sequence[Record]) -> Encoded:
        """Token ids of each text, without special tokens, cut to the most ever kept in that stream."""

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        """The tokens of a document that are read in a stream with a query of so many tokens in each query stream."""

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        """The fields of one group: token sequences, documents in order, every document at least one; or float32
        [K, width].
        """

    def save(self, directory: Path) -> None:
        """Write what `ExtractorContext(saved=directory)` needs, as Hugging Face tokenizer files where there is a
        tokenizer.
        """


def sequence_spec(extractor: Extractor, field: str) -> SequenceSpec:
    """A field of token sequences; ValueError where it holds numbers."""
    spec = extractor.fields[field]
    if isinstance(spec, DenseSpec):
        raise ValueError(f"the field {field!r} holds numbers, not token sequences")
    return spec


def vocab_size(extractor: Extractor, field: str) -> int:
    """The number of token ids that occur in a field."""
    return extractor.streams[sequence_spec(extractor, field).stream].vocab_size


@dataclass(frozen=True, kw_only=True)
class ExtractorOptions:
    """The base of every extractor's options, with the constants that the registry and the config check read."""

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ()  # the names of the fields that it makes
    columns: ClassVar[tuple[str, ...]] = ()  # the columns that it reads
