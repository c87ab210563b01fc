"""The removal of one cache, under a lock that the caller has."""

from __future__ import annotations

from rankcli.caches.regular import irregular
from rankcli.records.manifest import NAME
from rankcli.storage.base import Storage


def removed(storage: Storage, location: str) -> bool:
    """Remove a cache, its manifest first. False where somebody reads it by then: the manifest is put back."""
    name = f"{location}/{NAME}"
    regular = storage.size(name) is not None and not irregular(storage, name)
    manifest = storage.read_bytes(name) if regular else None
    storage.delete(name)
    if storage.held(location):
        if manifest is not None:
            storage.swap(name, None, manifest)
        return False
    storage.delete(location)
    return True
