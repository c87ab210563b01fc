"""Find the cache that serves a run among those in storage, or describe how the nearest one differs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rankcli import log
from rankcli.config.identity import ABSENT, Difference, differences
from rankcli.errors import DamageError, StorageError
from rankcli.records.manifest import NAME, PARTS, Manifest, location
from rankcli.storage.base import Storage

Complete = Callable[[Mapping[str, Any]], Mapping[str, Any]]
_AT_ONCE = 8  # manifests read at the same time
_LONGEST = 24  # characters of a value in a message
_SHOWN = 3  # differences in a message
_GENERATION = re.compile(r"[1-9][0-9]{0,8}")
_MANIFEST = re.compile(rf"[^/]+/({_GENERATION.pattern})/{re.escape(NAME)}")


def generations(storage: Storage, cache_id: str) -> list[int]:
    """The generations of a cache that were begun, the newest first."""
    return sorted((int(entry) for entry in storage.list(cache_id) if _GENERATION.fullmatch(entry)), reverse=True)


def load(storage: Storage, location: str) -> Manifest:
    """The manifest of the cache at `location`; StorageError if it is missing or damaged."""
    name = f"{location}/{NAME}"
    return Manifest.parse(storage.read_bytes(name), f"{storage.uri}/{name}", location)


def published(storage: Storage, cache_id: str) -> Iterator[Manifest]:
    """The caches of an id, the newest first; a damaged manifest is skipped with a warning."""
    names = [f"{cache_id}/{name}" for name in storage.below(cache_id)]
    yield from _readable(storage, cache_id, names, _pass_over)


def _pass_over(error: DamageError) -> None:
    log.warn(f"{error.where}: passed over: {error.what}")


def find(storage: Storage, cache_id: str, samples: int) -> Manifest | None:
    """The newest cache of `cache_id` with at least `samples` samples; None if there is none.

    Sample n is a pure function of n, so the first m samples of a cache are equal to a cache of m samples.
    """
    return next((found for found in published(storage, cache_id) if found.samples >= samples), None)


def explain_miss(storage: Storage, identity: Mapping[str, Any], complete: Complete = dict) -> str:
    """Describe in one line the cache most similar to `identity` and its differences; empty if there is no cache.

    Identities leave out options that have their default; `complete` adds them.
    """

    def difference(cache: tuple[str, list[str]]) -> tuple[int, str] | None:
        try:
            manifest = next(_readable(storage, *cache, lambda damage: None), None)  # another cache's damage is no news
        except StorageError:  # one of another user, say: it is only described here
            return None
        if manifest is None:
            return None
        differing = differences(complete(manifest.identity), complete(identity))
        what = said(differing) or "nothing but its number of samples"
        return len(differing), f"cache {manifest.cache_id} differs in {what}"

    caches: dict[str, list[str]] = {}
    for name in storage.below():
        caches.setdefault(name.partition("/")[0], []).append(name)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = [each for each in pool.map(difference, caches.items()) if each is not None]
    return min(found)[1] if found else ""


def _readable(
    storage: Storage, cache_id: str, names: Collection[str], damaged: Callable[[DamageError], None]
) -> Iterator[Manifest]:
    """The caches of an id, the newest first, among its files `names`; a damaged manifest is given to `damaged`."""
    found = sorted((int(match[1]) for name in names if (match := _MANIFEST.fullmatch(name))), reverse=True)
    for place in (location(cache_id, generation) for generation in found):
        try:
            manifest = load(storage, place)
        except DamageError as error:
            damaged(error)
            continue
        if manifest.cache_id == cache_id:
            receipts = any(name.startswith(f"{place}/{PARTS}/") for name in names)
            yield dataclasses.replace(manifest, receipts=receipts)


def said(differing: Sequence[Difference]) -> str:
    """The first differences of two identities, in words."""
    more = len(differing) - _SHOWN
    return "; ".join(map(_said, differing[:_SHOWN])) + (f"; and {more} more" if more > 0 else "")


def _said(difference: Difference) -> str:
    return f"{difference.key} ({_short(difference.have)}, wanted {_short(difference.want)})"


def _short(value: Any) -> str:
    """A value for a message; of a long one, such as a hash, only the start."""
    text = "nothing" if value is None or value is ABSENT else str(value)
    return text if len(text) <= _LONGEST else f"{text[:8]}..."
