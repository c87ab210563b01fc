"""Repair damaged caches from their inputs. Undamaged data are never removed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from rankcli.caches.damage import Damage, strays
from rankcli.caches.entries import DAMAGED, Entry, examine
from rankcli.caches.regular import irregular
from rankcli.config.identity import differences
from rankcli.config.load import load_saved
from rankcli.errors import RankcliError, StorageError
from rankcli.records.convert import SOURCE, convert, rebuild
from rankcli.records.manifest import NAME, Shard
from rankcli.records.workers import available_cpus
from rankcli.runs.prepare import prepare
from rankcli.runs.records import RecordSets
from rankcli.storage.base import Storage

Refusals = dict[str, str]  # by location: the reason why a cache was not repaired


class Repairer:
    """Repairs the caches of one storage. `root` is its option `storage`. Inputs are read once per config."""

    def __init__(self, storage: Storage, root: str) -> None:
        self.storage, self.root = storage, root
        self._sets: dict[bytes, RecordSets] = {}

    def repair(self, found: Iterable[Entry], damages: Sequence[Damage]) -> Refusals:
        """Repair the damages where possible, and return the reasons for the others. Check again to learn the result."""
        refusals = {}
        for entry in found:
            own = [damage for damage in damages if damage.location == entry.location]
            try:
                if own:
                    self._repair(entry, own)
            except RankcliError as error:
                refusals[entry.location] = f"{error.where}: {error.what}" if error.where else error.what
        return refusals

    def _repair(self, entry: Entry, damages: Sequence[Damage]) -> None:
        if any(damage.unreadable for damage in damages):
            raise self._error(entry, "it cannot be read, so it may be whole: nothing is replaced")
        free = [damage for damage in damages if irregular(self.storage, damage.path) != "a folder"]
        shards = [damage.shard for damage in free if damage.shard]
        if entry.state == DAMAGED and free:
            self._convert(entry)
        elif shards:
            self._rebuild(entry, shards)
        if len(shards) < len(free):
            self._remove_strays(entry)
        if len(free) < len(damages):
            raise self._error(entry, "a folder is not removed: look what it holds, and remove it")

    def _rebuild(self, entry: Entry, shards: Sequence[Shard]) -> None:
        sets = self._read(entry)
        name = _set_of(sets, entry)
        if name is None:
            raise self._error(entry, f"the inputs have changed: {_changed(sets, entry)}")
        assert entry.manifest is not None
        rebuild(sets.job(name), entry.manifest, shards, available_cpus())

    def _convert(self, entry: Entry) -> None:
        """Convert again without the damaged manifest. Undamaged shards are kept, the others are written."""
        sets = self._read(entry)
        name = _set_of(sets, entry)
        if name is None:
            raise self._error(entry, "the inputs have changed, and what they were the manifest cannot tell any more")
        with self.storage.lock(entry.cache_id):
            now = examine(self.storage, entry.cache_id, entry.generation)
            if now is not None and now.state == DAMAGED:
                shards = [f"{entry.location}/{name}" for name in now.unknown]
                self._remove([name for name in shards if irregular(self.storage, name)])
                self._remove([f"{entry.location}/{NAME}"])
        source = self._source(entry).decode()
        convert(dataclasses.replace(sets.job(name), source=source, fresh=False), available_cpus())

    def _remove_strays(self, entry: Entry) -> None:
        """Remove files that are named like shards, but belong neither to the cache nor to a conversion in progress."""
        with self.storage.lock(entry.cache_id):
            now = examine(self.storage, entry.cache_id, entry.generation)
            if now is not None:
                found = strays(self.storage, dataclasses.replace(now, in_use=False))
                self._remove([damage.path for damage in found])

    def _remove(self, names: Iterable[str]) -> None:
        """Remove files, links and pipes. Folders are kept."""
        for name in names:
            if irregular(self.storage, name) != "a folder":
                self.storage.delete(name)

    def _read(self, entry: Entry) -> RecordSets:
        """Return the sets of the config that a cache was made from, with their inputs read, for this storage."""
        source = self._source(entry)
        if source not in self._sets:
            config = load_saved(self.storage.fetch(f"{entry.location}/{SOURCE}"))
            trainer = dataclasses.replace(config.trainer, storage=self.root)
            self._sets[source] = prepare(dataclasses.replace(config, trainer=trainer)).sets
        return self._sets[source]

    def _source(self, entry: Entry) -> bytes:
        if SOURCE not in entry.names:
            raise self._error(entry, f"there is no {SOURCE} to make it from")
        return self.storage.read_bytes(f"{entry.location}/{SOURCE}")

    def _error(self, entry: Entry, what: str) -> StorageError:
        return StorageError(what, where=f"{self.storage.uri}/{entry.location}")


def _set_of(sets: RecordSets, entry: Entry) -> str | None:
    """Return the name of the set that a cache belongs to; None if its inputs have changed."""
    return next((name for name, cache_id in sets.cache_ids.items() if cache_id == entry.cache_id), None)


def _changed(sets: RecordSets, entry: Entry) -> str:
    """Describe how the inputs differ from those of a cache: the shortest list of differences among the sets of its
    split.
    """
    found = [
        [each.key for each in differences(entry.identity, wanted.identity)] for wanted in sets.of(entry.split).values()
    ]
    return ", ".join(sorted(found, key=len)[0] if found else ["split"])
