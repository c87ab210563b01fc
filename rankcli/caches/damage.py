"""Compare caches with their manifests: every shard by size and checksum. Find files that no manifest lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from rankcli import log
from rankcli.caches.entries import COMPLETE, DAMAGED, INTERRUPTED, OTHER, SHARD, THREADS, Entry
from rankcli.caches.regular import irregular
from rankcli.caches.text import counted
from rankcli.errors import DamageError, StorageError
from rankcli.records.manifest import NAME, Manifest, Shard
from rankcli.records.stripes import STRIPES, positions
from rankcli.storage.base import Storage


class Damage(NamedTuple):
    """A damaged file of a cache and a description of the damage.

    `shard` is set if the manifest lists the file. An `unreadable` file may be whole: it is never replaced.
    """

    location: str
    name: str
    what: str
    shard: Shard | None = None
    unreadable: bool = False

    @property
    def path(self) -> str:
        """Its name in storage."""
        return f"{self.location}/{self.name}"


class Note(NamedTuple):
    """Information about a name in storage that is not a damage."""

    path: str
    what: str


def find_damages(storage: Storage, found: Sequence[Entry]) -> list[Damage]:
    """Return all damages of these caches, in their order.

    Every shard is read; for remote storage, the storage's own checksums are used instead.
    """
    tasks = [(entry, shard) for entry in found if entry.manifest for shard in entry.manifest.shards]
    damages = [damage for entry in found for damage in (*_manifest_damage(entry), *strays(storage, entry))]
    total = sum(shard.bytes for _, shard in tasks)
    with log.Progress(total, "verifying", "bytes") as bar, ThreadPoolExecutor(THREADS) as pool:
        try:
            checked = pool.map(lambda task: _check(storage, *task), tasks)
            for (_, shard), damage in zip(tasks, checked, strict=True):
                bar.advance(shard.bytes)
                damages += [damage] if damage else []
        finally:
            pool.shutdown(cancel_futures=True)
    return _of_caches_still_there(storage, found, damages)


def notes(storage: Storage, found: Sequence[Entry]) -> Iterator[Note]:
    """Yield notes about interrupted conversions and extensions, and about caches of other versions."""
    for entry in found:
        if entry.state == INTERRUPTED:
            yield Note(entry.location, f"interrupted conversion, {counted(entry.shards, 'shard')} so far")
        elif entry.state == OTHER:
            yield Note(entry.location, f"{entry.why}; not verified")
        elif entry.state == COMPLETE and (begun := len(entry.unknown) - len(list(strays(storage, entry)))):
            yield Note(entry.location, f"interrupted extension, {counted(begun, 'shard')} so far")


def strays(storage: Storage, entry: Entry) -> Iterator[Damage]:
    """Yield files of a complete cache that are named like shards but are none."""
    for name in entry.unknown if entry.state == COMPLETE else ():
        if kind := irregular(storage, f"{entry.location}/{name}"):
            yield Damage(entry.location, name, f"{kind}, called like a shard")
        elif entry.manifest and not _is_extension(entry, entry.manifest, name):
            yield Damage(entry.location, name, "a shard that no manifest knows")


def _manifest_damage(entry: Entry) -> list[Damage]:
    return [Damage(entry.location, NAME, entry.why)] if entry.state == DAMAGED else []


def _is_extension(entry: Entry, manifest: Manifest, name: str) -> bool:
    """Tell whether an unknown shard is part of an extension, in progress or interrupted.

    An extension that was killed before its first receipt leaves a shard that begins at or after the end of the cache.
    """
    match = SHARD.fullmatch(name)
    assert match is not None
    stripe, first = int(match[1]), int(match[2])
    follows = stripe < STRIPES and first >= positions(manifest.samples, stripe)
    return entry.in_use or entry.begun or follows


def _check(storage: Storage, entry: Entry, shard: Shard) -> Damage | None:
    try:
        what = _difference(storage, entry, shard)
    except DamageError as error:
        what = error.what
    except StorageError as error:
        return Damage(entry.location, shard.name, f"cannot be read: {error.what}", shard, unreadable=True)
    return Damage(entry.location, shard.name, what, shard) if what else None


def _difference(storage: Storage, entry: Entry, shard: Shard) -> str:
    """Describe how a shard differs from its manifest entry. Empty if it does not differ."""
    name = f"{entry.location}/{shard.name}"
    if kind := irregular(storage, name):
        return f"{kind} stands in the place of the shard"
    found = storage.stat(name)
    if found is None:
        return "a folder stands in the place of the shard" if shard.name in entry.names else "missing"
    if found.bytes != shard.bytes:
        return f"{found.bytes} bytes instead of {shard.bytes}"
    return "another checksum" if found.crc32c != shard.crc32c else ""


def _of_caches_still_there(storage: Storage, found: Sequence[Entry], damages: list[Damage]) -> list[Damage]:
    """Drop the damages of caches that were pruned during the check, and sort the others in the order of the caches."""
    damaged = {damage.location for damage in damages}
    order = [entry.location for entry in found if entry.location in damaged and _still_there(storage, entry)]
    kept = [damage for damage in damages if damage.location in order]
    return sorted(kept, key=lambda damage: (order.index(damage.location), damage.name))


def _still_there(storage: Storage, entry: Entry) -> bool:
    return entry.state != COMPLETE or storage.size(f"{entry.location}/{NAME}") is not None
