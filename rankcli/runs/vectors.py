"""The base vectors that a run keeps: where, and for how long they are held."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from rankcli.config.schema import RunConfig, VectorOptions
from rankcli.extractors.base import Extractor
from rankcli.records.vector_cache import VectorCache, opened
from rankcli.rerankers.base import Reranker
from rankcli.runs.uses import note_use
from rankcli.storage.base import Storage, is_remote
from rankcli.storage.open import open_storage
from rankcli.storage.places import cache_uri
from rankcli.training.bases import BaseEncoder, identity_of, kept_bases, say_miss
from rankcli.training.encode import NOTHING_KEPT, Kept

Keep = Callable[[Any, Reranker, Extractor], Kept]


def vectors_storage(option: str | None) -> Storage:
    """Open the storage of vectors for the option `storage`."""
    return open_storage(f"{cache_uri(option)}/vectors")


@dataclass(frozen=True)
class Caches:
    """The option `caches` of a run, and the trainer's options `storage` and `evalbatch`."""

    options: Mapping[str, VectorOptions]
    storage: str | None
    evalbatch: int

    @classmethod
    def of(cls, config: RunConfig) -> Caches:
        """Return those of a config."""
        return cls(config.caches or {}, config.trainer.storage, config.trainer.evalbatch)

    @property
    def identity(self) -> dict[str, str]:
        """The part of a run's identity: the type of the numbers that are kept, by field."""
        return {field: each.dtype for field, each in self.options.items()}

    @contextmanager
    def used_by(self, run_dir: str = "", run_id: str | None = None) -> Iterator[Keep]:
        """Yield the function that opens the kept vectors of a reranker. Nobody prunes them until the context ends.

        The use is noted for the run directory, if there is one.
        """
        caches: dict[str, VectorCache] = {}
        with ExitStack() as stack:

            def keep(strategy: Any, reranker: Reranker, extractor: Extractor) -> Kept:
                if not self.options:
                    return NOTHING_KEPT
                for field, options in self.options.items():
                    caches[field] = stack.enter_context(self._opened(field, options, reranker, extractor))
                return kept_bases(caches, BaseEncoder(strategy, reranker, extractor, self.evalbatch))

            yield keep
            for cache in caches.values():
                if run_dir and len(cache):
                    note_use(cache.storage, cache.location, run_dir, run_id)

    @contextmanager
    def _opened(
        self, field: str, options: VectorOptions, reranker: Reranker, extractor: Extractor
    ) -> Iterator[VectorCache]:
        storage, store = self._place(options)
        with opened(storage, identity_of(reranker, extractor, field, options.dtype), store) as cache:
            say_miss(cache, field)
            yield cache

    def seen(self, field: str, reranker: Reranker, extractor: Extractor) -> VectorCache:
        """Return the kept vectors of a field as they are now. Nothing is written, and nobody is kept from pruning."""
        options = self.options[field]
        storage, store = self._place(options)
        return VectorCache(storage, identity_of(reranker, extractor, field, options.dtype), store)

    def _place(self, options: VectorOptions) -> tuple[Storage, str]:
        """Return the storage of a field's vectors, and how they are read from it."""
        elsewhere = is_remote(options.store)
        return vectors_storage(options.store if elsewhere else self.storage), "auto" if elsewhere else options.store
