"""An open bi-encoder: vectors of texts, kept from run to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankcli.data.source import Documents
from rankcli.log import Progress
from rankcli.records.distinct import Part, sequence_of, tokens_of
from rankcli.records.vector_cache import AT_ONCE, VectorCache, opened
from rankcli.runs.model import find_model, warn_unfinished
from rankcli.runs.opened import open_model
from rankcli.runs.vectors import vectors_storage
from rankcli.searchers.base import TextVectors
from rankcli.shapes import Floats, Ints, Record
from rankcli.training.bases import BaseEncoder, check_bases, identity_of, say_miss
from rankcli.training.encode import Encoded, Kept, VectorScorer
from rankcli.training.strategy import make_runtime_deterministic, make_strategy

DOCS, QUERIES = "docs", "queries"


class TextEncoder:
    """An open bi-encoder."""

    def __init__(
        self, said: str, weights: str = "best", evalbatch: int = 0, amp: str = "none", strategy: str = "auto"
    ) -> None:
        model = find_model(said, weights)
        warn_unfinished(model)
        make_runtime_deterministic(0)
        self._strategy = make_strategy(strategy)
        with self._strategy.scope():
            made = open_model(model, weights, "bfloat16" if amp == "bf16" else "float32")
            made.reranker.freeze()
        self._reranker, self._extractor, self._evalbatch = made.reranker, made.extractor, evalbatch
        check_bases(self._reranker, self._extractor, said)
        self._encoder = BaseEncoder(self._strategy, self._reranker, self._extractor, evalbatch)

    @contextmanager
    def kept(self, kind: str, storage: Any, dtype: str = "float32") -> Iterator[KeptTexts]:
        """The kept vectors of documents (`docs`) or of queries (`queries`), held until the context ends."""
        field = {DOCS: self._encoder.doc, QUERIES: self._encoder.query}[kind]
        identity = identity_of(self._reranker, self._extractor, field, dtype)
        with opened(storage, identity) as cache:
            say_miss(cache, field)
            known = Kept({field: cache.get})
            scorer = VectorScorer(self._strategy, self._reranker, self._extractor, self._evalbatch, known)
            yield KeptTexts(cache, field, self._encoder, scorer)


@dataclass(frozen=True)
class KeptTexts:
    """Kept vectors of texts of one field, and the encoder of what is missing."""

    cache: VectorCache
    field: str
    encoder: BaseEncoder
    scorer: VectorScorer

    def keep(self, records: Sequence[Record], advance: Callable[[int], None] = lambda texts: None) -> list[Ints]:
        """Encode and keep what is missing, and return the tokens of the texts."""
        tokens = tokens_of(self.encoder.extractor, self.field, records)
        sequences = [sequence_of(self.encoder.extractor, self.field, each) for each in tokens]
        self.cache.fill([sequences], self.encoder.of(self.field), advance)
        return tokens

    def made(self, tokens: list[Ints]) -> Iterator[Encoded]:
        """Yield the vectors that scores compare, of texts that are kept."""
        return self.scorer.encode([Part(self.field, 0, tokens, [0] * len(tokens))])

    def vectors(self, records: Sequence[Record], advance: Callable[[int], None] = lambda texts: None) -> Floats:
        """Return the vectors that scores compare, [N, width]."""
        parts = list(self.made(self.keep(records, advance)))
        found = np.concatenate([part.vectors for part in parts])
        numbers = np.concatenate([np.asarray(part.numbers, np.int64) for part in parts])
        return np.asarray(found[np.argsort(numbers)])


@dataclass(frozen=True)
class _OfCollection:
    """The vectors of a collection, and of queries."""

    documents: Documents
    of: dict[str, KeptTexts]

    def queries(self, texts: Sequence[str]) -> Floats:
        return self.of[QUERIES].vectors([Record("", text) for text in texts])

    def docs(self, docids: Sequence[str]) -> Floats:
        return self.of[DOCS].vectors(self.documents.records(docids))

    def blocks(self) -> Iterator[tuple[list[str], Floats]]:
        total = len(self.documents)
        with Progress(total, "vectors of", "documents") as bar:
            for first in range(0, total, AT_ONCE):
                here = range(first, min(first + AT_ONCE, total))
                records = self.documents.records_at(here)
                yield [record.id for record in records], self.of[DOCS].vectors(records, bar.advance)


@contextmanager
def text_vectors(documents: Documents, storage: str | None = None) -> Iterator[Callable[[str], TextVectors]]:
    """Yield the function that opens a model for the texts of a collection, each model once.

    Kept vectors are held until the context ends.
    """
    known: dict[str, TextVectors] = {}
    with ExitStack() as stack:

        def vectors(pretrained: str) -> TextVectors:
            if pretrained not in known:
                encoder, place = TextEncoder(pretrained), vectors_storage(storage)
                of = {kind: stack.enter_context(encoder.kept(kind, place)) for kind in (DOCS, QUERIES)}
                known[pretrained] = _OfCollection(documents, of)
            return known[pretrained]

        yield vectors
