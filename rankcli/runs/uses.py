"""Uses of a cache: it is locked while a run reads it, and a note in the cache tells the run directory and the time."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from rankcli.config.identity import digest
from rankcli.errors import RankcliError, StorageError
from rankcli.log import warn
from rankcli.records.manifest import NAME, Manifest
from rankcli.storage.base import Storage, is_remote

RUNS = "runs"
SCHEMA_VERSION = 1


class CachePruned(Exception):
    """The cache was pruned before it was locked: convert again."""


class Use(NamedTuple):
    """One run directory that used a cache.

    `host` is its machine, empty for one in a bucket. `last` is the time of its last use in seconds since 1970.
    """

    run_dir: str
    run_id: str | None
    host: str
    last: float

    def exists(self) -> bool | None:
        """True if the run directory exists; None where this machine cannot tell."""
        if not is_remote(self.run_dir):
            return Path(self.run_dir).is_dir() if self.host == socket.gethostname() else None
        from rankcli.storage.inputs import exists

        try:
            return exists(f"{self.run_dir}/run.json")
        except RankcliError:
            return None


@contextmanager
def using(storage: Storage, manifest: Manifest, run_dir: str, run_id: str | None) -> Iterator[None]:
    """Protect a cache from pruning while `run_dir` reads it, and note the use at the beginning and the end.

    CachePruned where the cache was pruned after it was found.
    """
    with storage.hold(manifest.location):
        if storage.size(f"{manifest.location}/{NAME}") is None:
            raise CachePruned(manifest.location)
        noted = note_use(storage, manifest.location, run_dir, run_id)
        try:
            yield
        finally:
            if noted:
                note_use(storage, manifest.location, run_dir, run_id)


def uses(storage: Storage, location: str) -> tuple[Use, ...]:
    """Return the uses of a cache, the latest first."""
    found = (_read(storage, f"{location}/{RUNS}/{name}") for name in storage.list(f"{location}/{RUNS}"))
    return tuple(sorted((use for use in found if use is not None), key=lambda use: -use.last))


def note_use(storage: Storage, location: str, run_dir: str, run_id: str | None) -> bool:
    """Write the note of a use. A failure only gives a warning, because the work can go on; False then."""
    directory = run_dir if is_remote(run_dir) else str(Path(run_dir).absolute())
    host = "" if is_remote(run_dir) else socket.gethostname()
    note = {
        "schema_version": SCHEMA_VERSION,
        "run_dir": directory,
        "run_id": run_id,
        "host": host,
        # new content each time: object storage keeps the old time of an object that is written again unchanged
        "used": datetime.now(timezone.utc).isoformat(),
    }
    name = f"{location}/{RUNS}/{digest([host, directory])}.json"
    try:
        storage.write_bytes(name, json.dumps(note, indent=1).encode() + b"\n")
    except StorageError as error:
        warn(f"{error.where}: {error.what}; `rankcli cache prune` will not know of this use")
        return False
    return True


def _read(storage: Storage, name: str) -> Use | None:
    try:
        note = json.loads(storage.read_bytes(name))
        found = storage.stat(name)
        return Use(str(note["run_dir"]), note["run_id"], str(note["host"]), found.modified) if found else None
    except (StorageError, ValueError, KeyError, TypeError) as error:
        what = error.what if isinstance(error, StorageError) else "not the note of a use"
        warn(f"{storage.uri}/{name}: passed over: {what}")
        return None
