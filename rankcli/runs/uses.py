"""Who uses a cache: it is held while they do, and noted beside it which run directory it was and when."""

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
    """The cache was pruned before it was held: convert again."""


class Use(NamedTuple):
    """A run directory that used a cache, on which machine (empty for one in a bucket), and when it did last (seconds
    since 1970).
    """

    run_dir: str
    run_id: str | None
    host: str
    last: float

    def exists(self) -> bool | None:
        """Whether the run directory is there; None where that cannot be told from here."""
        if not is_remote(self.run_dir):
            return Path(self.run_dir).is_dir() if self.host == socket.gethostname() else None
        from rankcli.storage.inputs import exists

        try:
            return exists(f"{self.run_dir}/run.json")
        except RankcliError:
            return None


@contextmanager
def using(storage: Storage, manifest: Manifest, run_dir: str, run_id: str | None) -> Iterator[None]:
    """Keep a cache from being pruned while it is read for `run_dir`, and note the use at the beginning and the end.

    Raises CachePruned where a prune came between finding the cache and this.
    """
    with storage.hold(manifest.location):
        if storage.size(f"{manifest.location}/{NAME}") is None:
            raise CachePruned(manifest.location)
        _note(storage, manifest.location, run_dir, run_id)
        try:
            yield
        finally:
            _note(storage, manifest.location, run_dir, run_id)


def uses(storage: Storage, location: str) -> tuple[Use, ...]:
    """The uses of a cache, the last one first."""
    found = (_read(storage, f"{location}/{RUNS}/{name}") for name in storage.list(f"{location}/{RUNS}"))
    return tuple(sorted((use for use in found if use is not None), key=lambda use: -use.last))


def _note(storage: Storage, location: str, run_dir: str, run_id: str | None) -> None:
    """A use that cannot be noted stops nobody's work."""
    directory = run_dir if is_remote(run_dir) else str(Path(run_dir).absolute())
    host = "" if is_remote(run_dir) else socket.gethostname()
    note = {
        "schema_version": SCHEMA_VERSION,
        "run_dir": directory,
        "run_id": run_id,
        "host": host,
        "used": datetime.now(timezone.utc).isoformat(),  # object storage keeps the time of what it has already
    }
    name = f"{location}/{RUNS}/{digest([host, directory])}.json"
    try:
        storage.write_bytes(name, json.dumps(note, indent=1).encode() + b"\n")
    except StorageError as error:
        warn(f"{error.where}: {error.what}; `rankcli cache prune` will not know of this use")


def _read(storage: Storage, name: str) -> Use | None:
    try:
        note = json.loads(storage.read_bytes(name))
        found = storage.stat(name)
        return Use(str(note["run_dir"]), note["run_id"], str(note["host"]), found.modified) if found else None
    except (StorageError, ValueError, KeyError, TypeError) as error:
        what = error.what if isinstance(error, StorageError) else "not the note of a use"
        warn(f"{storage.uri}/{name}: passed over: {what}")
        return None
