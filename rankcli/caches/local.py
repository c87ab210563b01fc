"""Local folders next to the caches: conversions in progress, and copies of files from buckets."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rankcli.records.steps import LOCK
from rankcli.storage import claim, inputs, mirror
from rankcli.storage.disk import guard
from rankcli.storage.locks import exclusive, taken

WORK, RUN, TREE = "work in progress", "copies of run directories", "copies of directories"
_LOCKS = {WORK: LOCK, RUN: claim.LOCK, TREE: inputs.LOCK}  # every process that uses a folder locks this file in it
_FOLDERS = {WORK: "work", RUN: mirror.FOLDER, TREE: inputs.FOLDER}


@dataclass(frozen=True, kw_only=True)
class Work:
    """A folder of one kind, used now (`in_use`) or before.

    It can be removed without loss: a conversion begins again, a copy is downloaded again.
    """

    kind: str
    path: Path
    bytes: int
    last_used: float
    in_use: bool


class _Busy(Exception):
    """Another process uses the folder."""


def local_work(root: Path) -> list[Work]:
    """Return all such folders below `root`, by kind and in the order of their names."""
    return [_work(kind, path) for kind, name in _FOLDERS.items() for path in _inner(root / name)]


def remove_work(work: Work) -> bool:
    """Remove the folder. Return False, without any change, while a process uses it."""
    try:
        with exclusive(work.path / _LOCKS[work.kind], _refuse), guard(work.path):
            if _held(work.path):
                return False
            shutil.rmtree(work.path)
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
    return Work(kind=kind, path=path, bytes=sum(found.st_size for found in files), last_used=newest, in_use=in_use)


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
