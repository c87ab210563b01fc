"""SHA-256 of the user's input files, remembered so that a large file is not read through at every start.

A file counts as unchanged while its path, size, time of change (in nanoseconds) and inode are equal to the remembered
ones. As in git, a file changed within the last two seconds is not remembered: another change in the same tick of the
clock would not be seen. Inside `reading_inputs_anew` all files are read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from rankcli.data.files import sha256_file
from rankcli.errors import StorageError
from rankcli.log import warn
from rankcli.storage import inputs
from rankcli.storage.atomic import write_file
from rankcli.storage.json_files import whole_file
from rankcli.storage.locks import exclusive
from rankcli.storage.places import local_root
from rankcli.storage.sealed import sealed, unsealed

NAME, LOCK = "input-hashes", "input-hashes.lock"
MOST = 4096  # files; those that were hashed longest ago are dropped
RACY_NS = 2_000_000_000

_anew: ContextVar[bool] = ContextVar("anew", default=False)


class _State(NamedTuple):
    """The properties by which a file is recognised."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> _State:
        found = os.stat(path)
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)


class _Known(NamedTuple):
    """A file that was hashed."""

    state: _State
    digest: str


@contextmanager
def reading_inputs_anew() -> Iterator[None]:
    """Let `input_sha256` read every file, even if its hash is remembered."""
    token = _anew.set(True)
    try:
        yield
    finally:
        _anew.reset(token)


def input_sha256(path: str | Path) -> str:
    """`sha256_file` of an input file; the remembered hash if the file has not changed since."""
    local = inputs.local_copy(path)
    if not local.is_file():
        return sha256_file(path)  # raises the error that fits
    before, name = _State.of(local), str(local.absolute())
    known = None if _anew.get() else _read().get(name)
    if known is not None and known.state == before:
        return known.digest
    digest = sha256_file(path)
    if before == _State.of(local) and time.time_ns() - before.mtime_ns > RACY_NS:
        _remember(name, _Known(before, digest))
    return digest


def _remember(name: str, file: _Known) -> None:
    """Add one file. A failure is only a warning: the file is hashed again the next time.

    Whoever may only read the folder is not warned: it would come with every command.
    """
    place = local_root()
    if place.exists() and not os.access(place, os.W_OK):
        return
    try:
        with exclusive(place / LOCK):
            known = _read()
            known.pop(name, None)
            kept = {**dict(list(known.items())[1 - MOST :]), name: file}
            rows = [[path, *state, digest] for path, (state, digest) in kept.items()]
            write_file(place / NAME, sealed({"files": rows}))
    except StorageError as error:
        warn(f"the hash of {name} is not remembered: {error}")


def _read() -> dict[str, _Known]:
    """The remembered files, those hashed longest ago first; none, with a warning, if the list is damaged."""
    path = local_root() / NAME
    try:
        rows = unsealed(whole_file(path))["files"]
        return {name: _Known(_State(*state), digest) for name, *state, digest in rows}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        warn(f"{path} is damaged and not used ({error!r}): the inputs are hashed again")
        return {}
