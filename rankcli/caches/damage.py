"""Caches compared with their manifests: every shard by size and checksum, and what lies there besides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from rankcli import log
from rankcli.caches.entries import COMPLETE, DAMAGED, INTERRUPTED, OTHER, SHARD, THREADS, Entry, irregular
from rankcli.caches.text import counted
from rankcli.errors import StorageError
from rankcli.records.manifest import NAME, Manifest, Shard
from rankcli.records.stripes import STRIPES, positions
from rankcli.storage.base import Storage


class Damage(NamedTuple):
    """What is not as it must be, in which file of a cache; `shard` is there if the manifest knows it."""

    location: str
    name: str
    what: str
    shard: Shard | None = None

    @property
    def path(self) -> str:
        """Its name in storage."""
        return f"{self.location}/{self.name}"


class Note(NamedTuple):
    """What is worth saying of a name in storage, but no damage."""

    path: str
    what: str


def find_damages(storage: Storage, found: Sequence[Entry]) -> list[Damage]:
    """All damages of these caches, in their order; every shard is read, or asked for where storage is remote."""
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
    """What else there is: begun conversions and extensions, caches of other versions."""
    for entry in found:
        if entry.state == INTERRUPTED:
            yield Note(entry.location, f"interrupted conversion, {counted(entry.shards, 'shard')} so far")
        elif entry.state == OTHER:
            yield Note(entry.location, f"{entry.why}; not verified")
        elif entry.state == COMPLETE and (begun := len(entry.unknown) - len(list(strays(storage, entry)))):
            yield Note(entry.location, f"interrupted extension, {counted(begun, 'shard')} so far")


def strays(storage: Storage, entry: Entry) -> Iterator[Damage]:
    """What lies among the shards of a complete cache, called like one of them, and is none."""
    for name in entry.unknown if entry.state == COMPLETE else ():
        if kind := irregular(storage, f"{entry.location}/{name}"):
            yield Damage(entry.location, name, f"{kind}, called like a shard")
        elif entry.manifest and not _is_extension(entry, entry.manifest, name):
            yield Damage(entry.location, name, "a shard that no manifest knows")


def _manifest_damage(entry: Entry) -> list[Damage]:
    return [Damage(entry.location, NAME, entry.why)] if entry.state == DAMAGED else []


def _is_extension(entry: Entry, manifest: Manifest, name: str) -> bool:
    """Whether an unknown shard is part of an extension that goes on or was interrupted.

    One that was killed before its first receipt has left a shard that begins where the cache ends, or later.
    """
    match = SHARD.fullmatch(name)
    assert match is not None
    stripe, first = int(match[1]), int(match[2])
    follows = stripe < STRIPES and first >= positions(manifest.samples, stripe)
    return entry.in_use or entry.begun or follows


def _check(storage: Storage, entry: Entry, shard: Shard) -> Damage | None:
    what = _difference(storage, entry, shard)
    return Damage(entry.location, shard.name, what, shard) if what else None


def _difference(storage: Storage, entry: Entry, shard: Shard) -> str:
    """How a shard differs from what the manifest says; empty when it does not."""
    name = f"{entry.location}/{shard.name}"
    try:
        if kind := irregular(storage, name):
            return f"{kind} stands in the place of the shard"
        found = storage.stat(name)
    except StorageError as error:
        return f"cannot be read: {error.what}"
    if found is None:
        return "a folder stands in the place of the shard" if shard.name in entry.names else "missing"
    if found.bytes != shard.bytes:
        return f"{found.bytes} bytes instead of {shard.bytes}"
    return "another checksum" if found.crc32c != shard.crc32c else ""


def _of_caches_still_there(storage: Storage, found: Sequence[Entry], damages: list[Damage]) -> list[Damage]:
    """Without those of caches that were pruned meanwhile, in the order of the caches."""
    damaged = {damage.location for damage in damages}
    order = [entry.location for entry in found if entry.location in damaged and _still_there(storage, entry)]
    kept = [damage for damage in damages if damage.location in order]
    return sorted(kept, key=lambda damage: (order.index(damage.location), damage.name))


def _still_there(storage: Storage, entry: Entry) -> bool:
    return entry.state != COMPLETE or storage.size(f"{entry.location}/{NAME}") is not None
