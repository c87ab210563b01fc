"""Local files next to the caches: what is made of inputs, conversions in progress, copies of files from buckets."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rankcli.caches.derived import Thing, things
from rankcli.caches.entries import CACHE_ID, SHARD
from rankcli.config.identity import DIGEST_CHARS
from rankcli.records.steps import LOCK
from rankcli.records.tokens import NUMBERS, PARTS, TEXTS
from rankcli.storage import claim, inputs, mirror
from rankcli.storage.disk import guard
from rankcli.storage.locks import exclusive, taken
from rankcli.storage.mark import is_marked, mark_of

WORK, RUN, TREE = "work in progress", "copies of run directories", "copies of directories"
_LOCKS = {WORK: LOCK, RUN: claim.LOCK, TREE: inputs.LOCK}  # every process that uses a folder locks this file in it
_WORK = re.compile(rf"{CACHE_ID.pattern}-[0-9a-f]{{{DIGEST_CHARS}}}")
_WORK_PARTS = (LOCK, NUMBERS, TEXTS, PARTS)
_FOLDERS = {WORK: "work", RUN: mirror.FOLDER, TREE: inputs.FOLDER}


@dataclass(frozen=True, kw_only=True)
class Work:
    """A folder or file of one kind, made of `source`, used now (`in_use`) or before.

    It can be removed without loss: it is made or downloaded again.
    """

    kind: str
    path: Path
    bytes: int
    last_used: float
    in_use: bool
    source: str = ""
    thing: Thing | None = None


class _Busy(Exception):
    """Another process uses the folder."""


def local_work(root: Path) -> list[Work]:
    """Return all of it below `root`, by kind and in the order of names, without what others made."""
    folders = [
        _work(kind, path) for kind, name in _FOLDERS.items() for path in _inner(root / name) if _is_ours(kind, path)
    ]
    with guard(root):
        return [*map(_derived, things(root)), *folders]


def _derived(thing: Thing) -> Work:
    stats = thing.stats
    newest = max((each.st_mtime for each in stats), default=0.0)
    return Work(
        kind=thing.kind,
        path=thing.path,
        bytes=sum(each.st_size for each in stats),
        last_used=newest,
        in_use=thing.in_use,
        source=thing.source,
        thing=thing,
    )


def _is_ours(kind: str, path: Path) -> bool:
    """True if name and content prove that we made the folder: `root` may be one in which people work."""
    if kind != WORK:
        return is_marked(path)
    known = all(entry.name in _WORK_PARTS or SHARD.match(entry.name) for entry in path.iterdir())
    return known and bool(_WORK.fullmatch(path.name)) and (path / LOCK).is_file()


def remove_work(work: Work) -> bool:
    """Remove it. Return False, without any change, while a process uses it."""
    try:
        if work.thing:
            return work.thing.remove(_refuse)
        with exclusive(work.path / _LOCKS[work.kind], _refuse), guard(work.path):
            if _held(work.path):
                return False
            shutil.rmtree(work.path)
            mark_of(work.path).unlink(missing_ok=True)
    except _Busy:
        return False
    return True


def _refuse(owner: str) -> None:
    raise _Busy(owner)


def _inner(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    with guard(folder):
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def _work(kind: str, path: Path) -> Work:
    files = [found for found in _stats(path) if stat.S_ISREG(found.st_mode)]
    newest = max((found.st_mtime for found in files), default=0.0)
    in_use = taken(path / _LOCKS[kind]) or _held(path)
    size = sum(found.st_size for found in files)
    return Work(kind=kind, path=path, bytes=size, last_used=newest, in_use=in_use, source=_uri(kind, path))


def _uri(kind: str, path: Path) -> str:
    return "" if kind == WORK else mark_of(path).read_text(encoding="utf-8")


def _held(path: Path) -> bool:
    """True if a process reads a copy in the folder."""
    return any(taken(hold) for hold in path.glob(f"*{inputs.HOLD}"))


def _stats(folder: Path) -> Iterator[os.stat_result]:
    """Yield the stats of all files below a folder. Another process may remove files meanwhile."""
    for directory, _, files in os.walk(folder):
        for name in files:
            try:
                yield os.lstat(os.path.join(directory, name))
            except FileNotFoundError:
                continue
