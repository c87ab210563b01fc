"""Choose the caches to remove, and remove them: the manifest first, so that a partly removed cache is never taken as
whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rankcli.caches.derived import RESUMED
from rankcli.caches.entries import INTERRUPTED, Entry, examine, stranger
from rankcli.caches.local import WORK, Work, remove_work
from rankcli.caches.removal import removed
from rankcli.caches.text import ago
from rankcli.caches.vectors import VectorEntry, remove_vectors, strange_file
from rankcli.errors import StorageError
from rankcli.storage.base import Storage

# In seconds; a conversion that wrote since may run on another machine, which holds no lock here.
RECENT_S = 3600.0

Item = Entry | Work | VectorEntry


class Criteria(NamedTuple):
    """The rules by which items are removed.

    `older_than`: last used more seconds ago. `max_bytes`: the least recently used, until all together fit. `unused`:
    caches that no existing run directory used, and what else nobody reads and is made or downloaded again.
    """

    older_than: float | None
    max_bytes: int | None
    unused: bool


class Choice(NamedTuple):
    """An item to remove and the rule that it matches.

    `kept_for` is the reason if it is kept nevertheless; `failed` is True if removing it failed.
    """

    item: Item
    why: str
    kept_for: str
    failed: bool = False


def choose(items: Sequence[Item], criteria: Criteria, now: float) -> list[Choice]:
    """Return the items to remove at the time `now`, the least recently used first."""
    ordered = sorted(items, key=lambda item: item.last_used)
    chosen = []
    for item in ordered:
        if why := _over_age_or_unused(item, criteria, now):
            chosen.append(Choice(item, why, _in_use(item, now)))
    if criteria.max_bytes is None:
        return chosen
    named = {id(each.item) for each in chosen}
    left = sum(item.bytes for item in ordered) - sum(each.item.bytes for each in chosen if not each.kept_for)
    for item in ordered:
        if left > criteria.max_bytes and id(item) not in named:
            chosen.append(Choice(item, f"more than {criteria.max_bytes:,} bytes in all", _in_use(item, now)))
            left -= 0 if chosen[-1].kept_for else item.bytes
    return chosen


def sparing_strangers(storage: Storage, chosen: Choice) -> Choice:
    """Return the choice; the item is kept if its directory holds a file that we did not make."""
    if chosen.kept_for or isinstance(chosen.item, Work):
        return chosen
    if isinstance(chosen.item, VectorEntry):
        name = strange_file(chosen.item)
        return chosen._replace(kept_for=f"it holds {name!r}, which is not ours" if name else "")
    return chosen._replace(kept_for=_held_stranger(storage, chosen.item))


def remove(storage: Storage, chosen: Choice) -> Choice:
    """Remove a chosen item, unless it was used meanwhile. Return it with the outcome."""
    item = chosen.item
    try:
        if isinstance(item, VectorEntry):
            kept_for = remove_vectors(item)
        else:
            kept_for = _remove_local(item) if isinstance(item, Work) else _remove_cache(storage, item)
    except StorageError as error:
        return chosen._replace(kept_for=f"{error.where}: {error.what}", failed=True)
    return chosen._replace(kept_for=kept_for)


def _over_age_or_unused(item: Item, criteria: Criteria, now: float) -> str:
    """Return the rule, age or use, that an item matches; empty if none.

    What was interrupted may still be resumed, so it does not count as unused.
    """
    if criteria.older_than is not None and now - item.last_used > criteria.older_than:
        return f"last used {ago(now - item.last_used)} ago"
    if criteria.unused and not isinstance(item, Work) and item.state != INTERRUPTED and not _wanted(item):
        return "used by no run directory that exists"
    if criteria.unused and isinstance(item, Work) and item.kind not in (WORK, *RESUMED):
        return "nobody reads it now; it is made or fetched again when it is needed"
    return ""


def _wanted(entry: Entry | VectorEntry) -> bool:
    """True if an existing run directory used it, or one on another machine, which may exist."""
    return any(use.exists() is not False for use in entry.uses)


def _in_use(item: Item, now: float) -> str:
    if item.in_use:
        return "in use"
    begun = isinstance(item, Entry) and item.begun
    return "its conversion may go on" if begun and now - item.last_used < RECENT_S else ""


def _held_stranger(storage: Storage, entry: Entry) -> str:
    name = stranger(storage, entry)
    return f"it holds {name!r}, which is not ours" if name else ""


def _remove_local(work: Work) -> str:
    return "" if remove_work(work) else "in use"


def _remove_cache(storage: Storage, entry: Entry) -> str:
    """Remove a cache under its lock, so that nothing is converted meanwhile.

    A reader (`using`) first holds the cache and then looks for the manifest. So the manifest is deleted first, and put
    back if a reader holds the cache by then.
    """
    with storage.lock(entry.cache_id):
        now = examine(storage, entry.cache_id, entry.generation)
        if now is None or (now.state, now.last_used, now.names) != (entry.state, entry.last_used, entry.names):
            return "used meanwhile"
        if kept_for := _held_stranger(storage, entry):  # it came after the items were named
            return kept_for
        return "" if removed(storage, entry.location) else "in use"
