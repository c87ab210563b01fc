"""The caches in a storage: complete, interrupted and damaged ones."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankcli.caches.origin import origin
from rankcli.caches.regular import irregular
from rankcli.config.identity import DIGEST_CHARS
from rankcli.errors import StorageError
from rankcli.records.convert import SOURCE
from rankcli.records.lookup import generations
from rankcli.records.manifest import NAME, PARTS, SCHEMA_VERSION, Manifest, location
from rankcli.runs.uses import RUNS, Use, uses
from rankcli.storage.base import Storage, is_remote
from rankcli.storage.local import is_own
from rankcli.storage.sealed import unsealed

COMPLETE, INTERRUPTED, DAMAGED, OTHER = "complete", "interrupted", "damaged", "other version"
SHARD = re.compile(r"shard-(\d{2})-(\d{8,})-(\d{8,})\.tfrecord")
CACHE_ID = re.compile(rf"[0-9a-f]{{{DIGEST_CHARS}}}")
_NAMES = (
    *(re.escape(NAME), re.escape(SOURCE), SHARD.pattern),
    *(rf"{PARTS}/{SHARD.pattern}\.json", rf"{RUNS}/{CACHE_ID.pattern}\.json"),
)
_OURS = re.compile("|".join(_NAMES))  # the files of a cache, besides locks and temporary files
THREADS = 8  # these threads mostly wait for disk or network


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One generation of a cache.

    `names` lists its directory. `unknown` are the names of shards that no manifest lists; `shards` and `bytes` count
    them too. `manifest` is set if `state` is COMPLETE. `why` gives the reason if it is DAMAGED or of an OTHER version.
    `made_of` names its collection and its reranker.
    `modified` is the time of the last write of the manifest or of a part (seconds since 1970).
    """

    cache_id: str
    generation: int
    state: str
    why: str
    made_of: str
    manifest: Manifest | None
    names: tuple[str, ...]
    unknown: tuple[str, ...]
    shards: int
    bytes: int
    modified: float
    uses: tuple[Use, ...]
    in_use: bool

    @property
    def location(self) -> str:
        """Its name in storage."""
        return location(self.cache_id, self.generation)

    @property
    def begun(self) -> bool:
        """True if it has parts of a conversion or an extension, in progress or interrupted."""
        return self.state == INTERRUPTED or PARTS in self.names

    @property
    def last_used(self) -> float:
        """The time when it was made or last used, in seconds since 1970."""
        return max([self.modified, *(use.last for use in self.uses)])

    @property
    def identity(self) -> Mapping[str, Any]:
        """The identity that it was made from; empty if not known."""
        found = self.manifest.identity if self.manifest else {}
        return found if isinstance(found, Mapping) else {}

    @property
    def split(self) -> str:
        """Its part of the split; `?` if not known."""
        return str(self.identity.get("split", "?"))


def entries(storage: Storage) -> list[Entry]:
    """Return all caches, complete or not, in the order of their names."""
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda place: examine(storage, *place), _places(storage))
        return [entry for entry in found if entry is not None]


def examine(storage: Storage, cache_id: str, generation: int) -> Entry | None:
    """Return one generation of a cache; None if it does not exist."""
    place = location(cache_id, generation)
    names = tuple(storage.list(place))
    if not names:
        return None
    state, why, manifest = _manifest(storage, cache_id, place)
    known = {shard.name for shard in manifest.shards} if manifest else set()
    unknown = tuple(name for name in names if SHARD.fullmatch(name) and name not in known)
    return Entry(
        cache_id=cache_id,
        generation=generation,
        state=state,
        why=why,
        made_of=origin(storage, place, names),
        manifest=manifest,
        names=names,
        unknown=unknown,
        shards=len(known) + len(unknown),
        bytes=(manifest.total_bytes if manifest else 0) + sum(storage.size(f"{place}/{name}") or 0 for name in unknown),
        modified=_modified(storage, place, names),
        uses=uses(storage, place),
        in_use=storage.held(place) or storage.held(cache_id),
    )


def stranger(storage: Storage, entry: Entry) -> str:
    """Return the name of a file in the cache's directory that is not of a cache; empty if there is none."""
    if is_remote(storage.uri):
        names = list(storage.below(entry.location))
    else:  # all of them: `below` leaves out the names that no storage gives
        top = Path(storage.uri, entry.location)
        files = (Path(folder, name) for folder, _, found in os.walk(top) for name in found if not is_own(name))
        names = [path.relative_to(top).as_posix() for path in files]
    return next((name for name in names if not _OURS.fullmatch(name)), "")


def links(storage: Storage) -> list[str]:
    """Return the names of caches and generations that are links. Other users of their targets are not known."""
    ids = storage.list()
    found = [name for name in ids if irregular(storage, name) == "a link"]
    inner = [location(name, n) for name in ids if name not in found for n in generations(storage, name)]
    return found + [name for name in inner if irregular(storage, name) == "a link"]


def _places(storage: Storage) -> Iterator[tuple[str, int]]:
    """Yield cache id and generation of everything that may be a cache. Links are not followed."""
    passed_over = set(links(storage))
    for cache_id in filter(CACHE_ID.fullmatch, storage.list()):
        if cache_id not in passed_over:
            for generation in reversed(generations(storage, cache_id)):
                if location(cache_id, generation) not in passed_over:
                    yield cache_id, generation


def _manifest(storage: Storage, cache_id: str, place: str) -> tuple[str, str, Manifest | None]:
    """Return the state of a cache, the reason if it is damaged or of another version, and its manifest.

    A read error is raised: it is not a damage.
    """
    name = f"{place}/{NAME}"
    if kind := irregular(storage, name):
        return DAMAGED, f"{kind} stands in the place of the manifest", None
    if storage.size(name) is None:
        return INTERRUPTED, "", None
    data = storage.read_bytes(name)
    try:
        manifest = Manifest.parse(data, f"{storage.uri}/{name}", place)
    except StorageError as error:
        return (OTHER if _of_another_version(data) else DAMAGED), error.what, None
    if manifest.cache_id != cache_id:
        return DAMAGED, f"the manifest is of cache {manifest.cache_id}", None
    return COMPLETE, "", manifest


def _of_another_version(data: bytes) -> bool:
    """True if another version of rankcli wrote it and it is undamaged."""
    try:
        return bool(unsealed(data)["schema_version"] != SCHEMA_VERSION)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _modified(storage: Storage, place: str, names: tuple[str, ...]) -> float:
    """Return the time of the last write of the manifest or a receipt. Without them, use the config or the first shards:
    reading all would take too long.
    """
    wanted = [f"{place}/{NAME}"] if NAME in names else []
    wanted += [f"{place}/{PARTS}/{name}" for name in storage.list(f"{place}/{PARTS}")] if PARTS in names else []
    wanted = wanted or [f"{place}/{SOURCE}" for name in names if name == SOURCE]
    wanted = wanted or [f"{place}/{name}" for name in names if SHARD.fullmatch(name)][:THREADS]
    found = [storage.stat(name) for name in wanted if not irregular(storage, name)]
    return max([each.modified for each in found if each is not None], default=0.0)
