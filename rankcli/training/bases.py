"""Base vectors of frozen encoders: what they are made of, how they are made, and where they are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from rankcli.errors import ConfigError
from rankcli.extractors.base import Extractor, sequence_spec
from rankcli.log import Progress, say
from rankcli.records.distinct import sequence_batches
from rankcli.records.vector_cache import Encode, VectorCache
from rankcli.records.vector_sets import why_missed
from rankcli.rerankers.base import Base, Reranker
from rankcli.shapes import Floats, TokenSequence
from rankcli.training.encode import Kept, Stage, VectorScorer, Windows, traced_once

VERSION = 1  # raised when the same weights and tokens give other base vectors


class BaseEncoder(VectorScorer):
    """Makes the base vectors of sequences, a batch of `evalbatch` texts at a time."""

    def __init__(self, strategy: Any, reranker: Reranker, extractor: Extractor, evalbatch: int = 0) -> None:
        super().__init__(strategy, reranker, extractor, evalbatch)
        stages = {field: Stage(base.encode) for field, base in reranker.bases.items()}
        self.steps = traced_once(strategy, stages)

    def of(self, field: str) -> Encode:
        """Return the function that encodes sequences of a field."""

        def encode(sequences: Sequence[TokenSequence]) -> Iterator[tuple[Sequence[int], Floats]]:
            with closing(sequence_batches(field, sequences, self.extractor, self.division)) as batches:
                for made in self.computed(batches):
                    yield made.numbers, made.vectors

        return encode


def check_bases(reranker: Reranker, extractor: Extractor, where: str) -> None:
    """ConfigError for a reranker that makes no vector of a text alone."""
    if not reranker.bases:
        fix = "use a bi-encoder"
        what = "this reranker reads a query and a document together, so a text alone has no vector"
        raise ConfigError(what, where=where, fix=fix)
    for field in reranker.bases:
        if sequence_spec(extractor, field).most > 1:
            raise ConfigError(f"a {field} has several sequences, and no single vector", where=where)


def identity_of(reranker: Reranker, extractor: Extractor, field: str, dtype: str) -> dict[str, Any]:
    """Return all that decides the base vectors of a field besides the texts, readable."""
    base = reranker.bases[field]
    return {
        "weights": weights_hash(base),
        "encoder": base.about,
        "tokenizer": extractor.fingerprint,
        "field": field,
        "length": sequence_spec(extractor, field).max_length,
        "dtype": dtype,
        "version": VERSION,
    }


def weights_hash(base: Base) -> str:
    """Return the SHA-256 of all weights that base vectors depend on."""
    hashed = hashlib.sha256()
    for part in base.parameters:
        for name, value in sorted(part.tensors().items()):
            hashed.update(f"{name} {value.dtype.str} {value.shape}\n".encode())
            hashed.update(np.ascontiguousarray(value).data)
    return hashed.hexdigest()


def say_miss(cache: VectorCache, field: str) -> None:
    """Say that no vector of a field is kept, and what differs in the set that is most like the wanted one."""
    if not len(cache):
        why = why_missed(cache.storage, cache.identity)
        say(f"{field}: not cached" + (f": {why}" if why else ""))


def check_frozen(reranker: Reranker, extractor: Extractor, fields: Iterable[str]) -> None:
    """ConfigError where base vectors of `fields` cannot be kept while the reranker is trained."""
    for field in fields:
        where = f"caches.{field}"
        check_bases(reranker, extractor, where)
        if not reranker.bases[field].frozen:
            fix = "say `reranker.frozen: true`, or leave this cache out"
            raise ConfigError("this encoder is trained, so its vectors change at every step", where=where, fix=fix)


def kept_bases(caches: Mapping[str, VectorCache], encoder: BaseEncoder) -> Kept:
    """Return the kept base vectors of the fields of a reranker. What is missing is encoded by `encoder`."""

    def fill(field: str, windows: Windows, total: int) -> None:
        cache = caches[field]
        before = cache.encoded
        with Progress(total, f"encoding {field}", "texts") as bar:
            cache.fill(windows, encoder.of(field), bar.advance)
        if cache.encoded > before:
            where = "in memory" if cache.in_memory else "in mapped files"
            size = f"{len(cache):,} vectors, {cache.manifest.total_bytes:,} bytes"
            say(f"{field}: {cache.encoded - before:,} texts encoded; {size}, {where}")

    return Kept({field: cache.get for field, cache in caches.items()}, fill)
