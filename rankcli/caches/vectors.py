"""Sets of kept vectors: listed, verified, repaired and removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rankcli.caches.entries import CACHE_ID, COMPLETE, DAMAGED, INTERRUPTED
from rankcli.caches.regular import irregular
from rankcli.caches.removal import removed
from rankcli.caches.text import ago, counted, plain, timestamp, used_by
from rankcli.errors import DamageError, StorageError
from rankcli.log import Progress
from rankcli.records.vector_cache import VectorCache
from rankcli.records.vector_sets import NAME, SHARD, VectorManifest, VectorShard, load, location
from rankcli.runs.uses import RUNS, Use, uses
from rankcli.storage.base import Storage

_COLUMNS = "{:20} {:>11} {:>7} {:>17} {:>7}  {}"


@dataclass(frozen=True, kw_only=True)
class VectorEntry:
    """One set of vectors. `names` lists its folder; `manifest` is set if `state` is COMPLETE."""

    storage: Storage
    set_id: str
    state: str
    why: str
    manifest: VectorManifest | None
    names: tuple[str, ...]
    bytes: int
    modified: float
    uses: tuple[Use, ...]
    in_use: bool

    @property
    def location(self) -> str:
        """Its name in storage."""
        return location(self.set_id)

    @property
    def path(self) -> str:
        """Its place, for people."""
        return f"{self.storage.uri}/{self.location}"

    @property
    def last_used(self) -> float:
        """The time when it was made or last used, in seconds since 1970."""
        return max([self.modified, *(use.last for use in self.uses)])


def vector_entries(storage: Storage) -> list[VectorEntry]:
    """Return all sets, in the order of their names. Links are not followed."""
    ids = [name for name in storage.list() if CACHE_ID.fullmatch(name) and irregular(storage, name) != "a link"]
    return [entry for entry in (examine(storage, set_id) for set_id in ids) if entry is not None]


def examine(storage: Storage, set_id: str) -> VectorEntry | None:
    """Return a set; None if it does not exist."""
    place = location(set_id)
    names = tuple(storage.list(place)) if irregular(storage, place) != "a link" else ()
    if not names:
        return None
    state, why, manifest = _manifest(storage, set_id)
    stats = [
        storage.stat(f"{place}/{name}") for name in names if name == NAME and not irregular(storage, f"{place}/{name}")
    ]
    return VectorEntry(
        storage=storage,
        set_id=set_id,
        state=state,
        why=why,
        manifest=manifest,
        names=names,
        bytes=sum(storage.size(f"{place}/{name}") or 0 for name in names if name != RUNS),
        modified=max((each.modified for each in stats if each), default=0.0),
        uses=uses(storage, place),
        in_use=storage.held(place) or storage.held(set_id),
    )


def _manifest(storage: Storage, set_id: str) -> tuple[str, str, VectorManifest | None]:
    if kind := irregular(storage, f"{location(set_id)}/{NAME}"):
        return DAMAGED, f"{kind} stands in the place of the manifest", None
    try:
        manifest = load(storage, set_id)
    except DamageError as error:
        return DAMAGED, error.what, None
    return (COMPLETE, "", manifest) if manifest else (INTERRUPTED, "no text is encoded yet", None)


def described_vectors(entry: VectorEntry) -> dict[str, Any]:
    """Return all known facts about a set."""
    return {
        "set_id": entry.set_id,
        "path": entry.path,
        "state": entry.state,
        "why": entry.why,
        "in_use": entry.in_use,
        "texts": entry.manifest.texts if entry.manifest else None,
        "bytes": entry.bytes,
        "last_used": timestamp(entry.last_used),
        "runs": [{**use._asdict(), "last": timestamp(use.last), "exists": use.exists()} for use in entry.uses],
        "identity": dict(entry.manifest.identity) if entry.manifest else {},
    }


def vector_lines(found: Sequence[VectorEntry], now: float) -> Iterator[str]:
    """Yield a line for each set and, indented below it, what its vectors are made of and who used them."""
    yield _COLUMNS.format("VECTORS", "TEXTS", "WIDTH", "BYTES", "USED", "STATE")
    for entry in found:
        texts, width = (f"{entry.manifest.texts:,}", entry.manifest.width) if entry.manifest else ("?", "?")
        state = f"{entry.state}, in use" if entry.in_use else entry.state
        yield _COLUMNS.format(entry.location, texts, width, f"{entry.bytes:,}", ago(now - entry.last_used), state)
        if entry.why:
            yield f"    {plain(entry.why)}"
        if entry.manifest:
            yield f"    {_made_of(entry.manifest.identity)}"
        yield from (f"    {used_by(use, now)}" for use in entry.uses)


def _made_of(identity: Mapping[str, Any]) -> str:
    shown = {name: str(value)[:8] for name, value in identity.items() if name not in ("encoder", "version")}
    return plain(", ".join(f"{name} {value}" for name, value in shown.items()))


def verify_vectors(found: Sequence[VectorEntry], repair: bool) -> list[dict[str, Any]]:
    """Compare every shard with its checksum. Return a description of each damage, and if it was repaired.

    A repair takes a damaged shard out of its set, or removes a set whose manifest is damaged.
    """
    damages: list[dict[str, Any]] = []
    shards = sum(entry.manifest.total_bytes for entry in found if entry.manifest)
    with Progress(shards, "verifying vectors", "bytes") as bar:
        for entry in found:
            own = [{"path": f"{entry.path}/{NAME}", "what": entry.why}] if entry.state == DAMAGED else []
            for shard in entry.manifest.shards if entry.manifest else ():
                if what := _difference(entry, shard):
                    own.append({"path": f"{entry.path}/{shard.name}", "what": what})
                bar.advance(shard.bytes)
            why = _repair(entry) if own and repair else ""
            damages += [{**each, "repaired": repair and not why, "why": why} for each in own]
    return damages


def _difference(entry: VectorEntry, shard: VectorShard) -> str:
    name = f"{entry.location}/{shard.name}"
    if kind := irregular(entry.storage, name):
        return f"{kind} stands in the place of the shard"
    found = entry.storage.stat(name)
    if found is None:
        return "missing"
    return "" if (found.bytes, found.crc32c) == (shard.bytes, shard.crc32c) else "another checksum or size"


def _repair(entry: VectorEntry) -> str:
    """Repair a set. Return the reason if that is not possible."""
    if entry.manifest is None:
        return remove_vectors(entry)
    try:
        VectorCache(entry.storage, entry.manifest.identity, "disk").repair()
    except StorageError as error:
        return error.what
    return ""


def strange_file(entry: VectorEntry) -> str:
    """Return the name of a file in a set's folder that is not ours; empty if there is none."""
    ours = (name for name in entry.storage.below(entry.set_id))
    return next((name for name in ours if not _is_ours(name)), "")


def _is_ours(name: str) -> bool:
    inner = name.removeprefix("1/")
    return inner == NAME or bool(SHARD.fullmatch(inner)) or inner.startswith(f"{RUNS}/")


def remove_vectors(entry: VectorEntry) -> str:
    """Remove a set under its lock, the manifest first. Return the reason if it is kept."""
    storage = entry.storage
    with storage.lock(entry.set_id):
        now = examine(storage, entry.set_id)
        if now is None or (now.names, now.last_used) != (entry.names, entry.last_used):
            return "used meanwhile"
        if strange := strange_file(entry):
            return f"it holds {strange!r}, which is not ours"
        return "" if removed(storage, entry.location) else "in use"


def counted_sets(found: Sequence[VectorEntry]) -> str:
    """Return the line with the sums."""
    sizes = sum(entry.bytes for entry in found)
    return f"{found[0].storage.uri}: {counted(len(found), 'set')} of vectors, {sizes:,} bytes"
