"""The records of a run's sets: found in the cache or converted, and locked while they are in use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from rankcli.config.registry import EXTRACTORS, SAMPLERS, describe
from rankcli.errors import StorageError
from rankcli.log import say
from rankcli.records.convert import convert, rebuild
from rankcli.records.interleave import Records
from rankcli.records.lookup import explain_miss, find
from rankcli.records.manifest import Manifest, Shard
from rankcli.records.shards import remove_receipts
from rankcli.records.steps import ConversionJob
from rankcli.records.texts import InMemory
from rankcli.records.workers import available_cpus
from rankcli.runs.sets import TRAIN, RecordSet
from rankcli.runs.uses import CachePruned, using
from rankcli.storage.base import Storage
from rankcli.storage.open import open_storage
from rankcli.storage.places import cache_uri, local_root


def records_storage(option: str | None) -> Storage:
    """Open the storage of TFRecord caches for the option `storage`."""
    return open_storage(f"{cache_uri(option)}/records")


@dataclass(frozen=True)
class Caching:
    """The trainer's options `storage` and `usecache`, and `source`, the config that the records are made from.

    The config is saved with the records, so that they can be made again.
    """

    option: str | None
    usecache: bool
    source: str

    @cached_property
    def storage(self) -> Storage:
        """The storage of cached records."""
        return records_storage(self.option)

    @property
    def work(self) -> Path:
        """The local directory of conversions in progress."""
        return local_root(self.option) / "work"


@dataclass(frozen=True, eq=False)
class RecordSets(Mapping[str, RecordSet]):
    """The sets of a run by name, and their records."""

    sets: Mapping[str, RecordSet]
    caching: Caching

    def __getitem__(self, name: str) -> RecordSet:
        return self.sets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sets)

    def __len__(self) -> int:
        return len(self.sets)

    def of(self, split: str) -> dict[str, RecordSet]:
        """Return the sets of a part of the split, by the trainer's names for them."""
        return {each.key: each for each in self.sets.values() if each.split == split}

    @property
    def pairs(self) -> int:
        """The number of query-document pairs that training reads in all."""
        return sum(each.samples * each.group_size for each in self.of(TRAIN).values())

    @cached_property
    def cache_ids(self) -> dict[str, str]:
        """The cache id of each set."""
        return {name: each.cache_id for name, each in self.sets.items()}

    def cached(self, name: str) -> Manifest | None:
        """Return the manifest of a set's cached records; None if they are missing or `usecache` is off."""
        if not self.caching.usecache:
            return None
        return find(self.caching.storage, self.cache_ids[name], self.sets[name].samples)

    def why_missed(self, name: str) -> str:
        """Explain a cache miss by the differences from the most similar cache. Empty if there is no other cache."""
        if not self.caching.usecache:
            return "usecache is false"
        return explain_miss(self.caching.storage, self.sets[name].identity, _with_defaults)

    def job(self, name: str) -> ConversionJob:
        """Return the conversion of a set."""
        each, caching = self.sets[name], self.caching
        return ConversionJob(
            cache_id=each.cache_id,
            identity=each.identity,
            sampler=each.sampler,
            samples=each.samples,
            group_size=each.group_size,
            extractor=each.extractor,
            queries=InMemory(each.dataset.queries),
            docs=each.texts,
            columns=each.drawn_columns,
            features=each.features,
            storage=caching.storage,
            work=caching.work,
            source=caching.source,
            fresh=not caching.usecache,
        )

    def records(self, name: str) -> Records:
        """Return the records of a set, converted unless they are cached. A damaged shard is made again.

        The reader calls back to make a shard again: it only knows shards, and only this class knows how to make them.
        """
        manifest = self.cached(name)
        if manifest is None:
            say(f"converting {self.sets[name].samples} {name} samples")
            manifest = convert(self.job(name), processes=available_cpus())
            if manifest.streams:  # features have no tokens
                say(f"{name}: {manifest.share_cut:.1%} of the document tokens are cut off")
        elif manifest.receipts:
            # of a conversion that was killed just before it removed them; whoever may only read leaves them
            with suppress(StorageError):
                remove_receipts(self.caching.storage, manifest)
        return Records(manifest, self.caching.storage, partial(self._rebuild, name, manifest))

    def _rebuild(self, name: str, manifest: Manifest, shard: Shard) -> None:
        rebuild(self.job(name), manifest, [shard])

    @contextmanager
    def used_by(self, run_dir: str, run_id: str) -> Iterator[Callable[[str], Records]]:
        """Yield a function that returns the records of a set.

        Each use is noted for the run, and the records cannot be pruned until the context ends.
        """
        with ExitStack() as uses:
            yield partial(self._use, run_dir=run_dir, run_id=run_id, uses=uses)

    def _use(self, name: str, *, run_dir: str, run_id: str, uses: ExitStack) -> Records:
        while True:
            records = self.records(name)
            try:
                uses.enter_context(using(self.caching.storage, records.manifest, run_dir, run_id))
            except CachePruned:
                continue
            return records


def _with_defaults(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity with all options of its sampler and extractor. Identities leave out options equal to the
    default.
    """
    full = dict(identity)
    for registry, kind in ((SAMPLERS, "sampler"), (EXTRACTORS, "extractor")):
        name = full[kind].get("name")
        if name in registry.builtins():
            options = describe(registry.get(name))
            full[kind] = {**{option["name"]: option["default"] for option in options}, **full[kind]}
    return full
