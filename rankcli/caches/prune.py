"""Which caches are to go, and how they go: the manifest first, so that nothing that is left claims to be a cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rankcli.caches.entries import INTERRUPTED, Entry, examine, irregular
from rankcli.caches.local import WORK, Work, remove_work
from rankcli.caches.text import ago
from rankcli.errors import StorageError
from rankcli.records.manifest import NAME
from rankcli.storage.base import Storage

RECENT_S = 3600.0  # a conversion that wrote something since may be that of another machine, which has no lock

Item = Entry | Work


class Criteria(NamedTuple):
    """What goes: what was last used longer ago (seconds), what was used longest ago as long as all together have more
    bytes, and caches that no run directory used that still exists, with the local copies of what lies in buckets.
    """

    older_than: float | None
    max_bytes: int | None
    unused: bool


class Chosen(NamedTuple):
    """What is to go, and by which criterion; `kept_for` says why it stays, if so, and `failed` that it should not."""

    item: Item
    why: str
    kept_for: str
    failed: bool = False


def choose(items: Sequence[Item], criteria: Criteria, now: float) -> list[Chosen]:
    """What goes at the time `now`, the least recently used first."""
    ordered = sorted(items, key=lambda item: item.last_used)
    chosen = []
    for item in ordered:
        if why := _over_age_or_unused(item, criteria, now):
            chosen.append(Chosen(item, why, _in_use(item, now)))
    if criteria.max_bytes is None:
        return chosen
    named = {id(each.item) for each in chosen}
    left = sum(item.bytes for item in ordered) - sum(each.item.bytes for each in chosen if not each.kept_for)
    for item in ordered:
        if left > criteria.max_bytes and id(item) not in named:
            chosen.append(Chosen(item, f"more than {criteria.max_bytes:,} bytes in all", _in_use(item, now)))
            left -= 0 if chosen[-1].kept_for else item.bytes
    return chosen


def remove(storage: Storage, chosen: Chosen) -> Chosen:
    """Remove what is to go, unless somebody took it in the meantime; what became of it."""
    item = chosen.item
    try:
        kept_for = _remove_local(item) if isinstance(item, Work) else _remove_cache(storage, item)
    except StorageError as error:
        return chosen._replace(kept_for=f"{error.where}: {error.what}", failed=True)
    return chosen._replace(kept_for=kept_for)


def _over_age_or_unused(item: Item, criteria: Criteria, now: float) -> str:
    """By which of these criteria it goes; empty if by none. A begun conversion waits to go on, it is not unused."""
    if criteria.older_than is not None and now - item.last_used > criteria.older_than:
        return f"last used {ago(now - item.last_used)} ago"
    if criteria.unused and isinstance(item, Entry) and item.state != INTERRUPTED and not _wanted(item):
        return "used by no run directory that exists"
    if criteria.unused and isinstance(item, Work) and item.kind != WORK:
        return "a copy that nobody reads"
    return ""


def _wanted(entry: Entry) -> bool:
    """Whether it was used by a run directory that exists, or may exist where it cannot be looked for."""
    return any(use.exists() is not False for use in entry.uses)


def _in_use(item: Item, now: float) -> str:
    if item.in_use:
        return "in use"
    begun = isinstance(item, Entry) and item.begun
    return "its conversion may go on" if begun and now - item.last_used < RECENT_S else ""


def _remove_local(work: Work) -> str:
    return "" if remove_work(work) else "in use"


def _remove_cache(storage: Storage, entry: Entry) -> str:
    """Nobody converts meanwhile. Who begins to read looks for the manifest while it holds the cache (`using`)."""
    name = f"{entry.location}/{NAME}"
    with storage.lock(entry.cache_id):
        now = examine(storage, entry.cache_id, entry.generation)
        if now is None or (now.state, now.last_used, now.names) != (entry.state, entry.last_used, entry.names):
            return "used meanwhile"
        regular = storage.size(name) is not None and not irregular(storage, name)
        manifest = storage.read_bytes(name) if regular else None
        storage.delete(name)
        if storage.held(entry.location):
            if manifest is not None:
                storage.swap(name, None, manifest)
            return "in use"
        storage.delete(entry.location)
    return ""
