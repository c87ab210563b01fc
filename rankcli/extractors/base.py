"""What an extractor is, and what it is built from."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rankcli.shapes import Encoded, Example, FieldSpec, Floats, Level, TokenSequence

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
    """Texts to tokens (once per text, in batches), and the tokens of a group to the sequences an encoder reads."""

    fields: Mapping[str, FieldSpec]
    vocab_size: int
    pad_id: int
    fingerprint: str  # sha256 of what decides the tokens: vocabulary and rules; part of cache ids
    idf: Floats | None  # [vocab_size] inverse document frequencies, where the extractor computes them

    def encode(self, level: Level, texts: Sequence[str]) -> Encoded:
        """Token ids of each text, without special tokens, cut to the most ever kept at that level."""

    def doc_budget(self, query_tokens: int) -> int:
        """How many tokens of a document are read together with a query of `query_tokens` tokens."""

    def sequences(self, example: Example) -> dict[str, list[TokenSequence]]:
        """The sequences of each field for one group, documents in order, every document at least one sequence."""

    def save(self, directory: Path) -> None:
        """Write what `ExtractorContext(saved=directory)` needs, as Hugging Face tokenizer files where there is a
        tokenizer.
        """
