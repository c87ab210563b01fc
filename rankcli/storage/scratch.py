"""Temporary directories and files to build in, and the removal of those whose builder died.

A builder has a lock on its file, or on the file `lock` of its directory. The system releases it in any case when the
builder ends, so no process ids or clocks are needed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rankcli import log
from rankcli.storage.atomic import TEMPORARY, claim_file, sync, sync_tree, try_lock, unique
from rankcli.storage.disk import guard

_OURS = re.compile(rf".*{TEMPORARY}[0-9]+\.[0-9a-f]{{32}}")


@contextmanager
def scratch(root: Path, name: str = "") -> Iterator[Path]:
    """A new directory in `root`, removed at the end; first those of dead builders are removed.

    With `name` it is one to build `root/name` in, and only those of the same name are removed.
    """
    prefix = f"{name}.{TEMPORARY}" if name else TEMPORARY
    with guard(root):
        root.mkdir(parents=True, exist_ok=True)
        sweep(root, prefix)
        path, lock = _claim(root, prefix)
    try:
        yield path
    finally:
        _remove(path)
        os.close(lock)


@contextmanager
def scratch_file(root: Path) -> Iterator[Path]:
    """A file in `root` to write and then to rename; first those of dead builders are removed."""
    with guard(root):
        root.mkdir(parents=True, exist_ok=True)
        sweep(root)
        path, lock = claim_file(root, TEMPORARY)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def replacing_directory(directory: Path) -> Iterator[Path]:
    """An empty directory to fill; when the block ends without an error, it is synced and becomes `directory`.

    A directory cannot be renamed over another: the old one is renamed first, and renamed back if the new one fails.
    """
    with scratch(directory.parent, directory.name) as place:
        built, old = place / "built", place / "old"
        built.mkdir()
        yield built
        sync_tree(built)
        if directory.exists():
            directory.rename(old)
        try:
            built.rename(directory)
        except OSError:
            if old.exists():
                old.rename(directory)
            raise
        sync(directory.parent)


def sweep(root: Path, prefix: str = TEMPORARY) -> None:
    """Remove the remains of dead builders, and print how many bytes that freed.

    A directory without a lock is not ours, unless it is empty and named like ours.
    """
    for path in sorted(path for path in root.iterdir() if path.name.startswith(prefix)):
        if not path.is_symlink() and (path.is_dir() or _OURS.fullmatch(path.name)):
            _sweep(path)


def sweep_tree(directory: Path, spared: str) -> None:
    """Remove temporary files anywhere in a directory into which no other process writes, and print the bytes freed.

    Directories that contain a file called `spared` are skipped. Temporary directories are removed as by `sweep`, unless
    they are locked.
    """
    sweep_files(directory)
    for path in sorted(directory.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if _OURS.fullmatch(path.name):
                _sweep(path)
            elif not (path / spared).exists():
                sweep_tree(path, spared)


def sweep_files(directory: Path) -> None:
    """Remove the temporary files of a directory into which no other process writes, and print that."""
    for path in sorted(directory.iterdir()):
        if _OURS.fullmatch(path.name) and (path.is_symlink() or not path.is_dir()):
            freed = path.lstat().st_size
            path.unlink(missing_ok=True)
            _say_removed(path, freed)


def _sweep(path: Path) -> None:
    name = path / "lock" if path.is_dir() else path
    lock = _lock(name, os.O_RDWR) if name.is_file() else None
    if lock is not None:
        freed = sum(file.lstat().st_size for file in (path, *path.rglob("*")) if file.is_file())
        _remove(path)
        os.close(lock)
        _say_removed(path, freed)
    elif path.is_dir() and _OURS.fullmatch(path.name):
        with suppress(OSError):  # not empty, or gone; a builder that has just made it makes another
            path.rmdir()


def _say_removed(path: Path, freed: int) -> None:
    log.say(f"removed what an interrupted run had left: {path.name}, {freed:,} bytes")


def _remove(path: Path) -> None:
    """Remove a file or a directory, its lock last: so a process killed here leaves remains that `sweep` finds."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != "lock":
            entry.unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def _claim(root: Path, prefix: str) -> tuple[Path, int]:
    """Make a directory and lock it; make another one if a sweep removes it before it is locked."""
    while True:
        path = root / f"{prefix}{unique()}"
        path.mkdir()
        lock = _lock(path / "lock", os.O_RDWR | os.O_CREAT)
        if lock is not None:
            return path, lock


def _lock(name: Path, how: int) -> int | None:
    """`try_lock`; None also where the file, or the directory for it, is gone."""
    try:
        return try_lock(name, how)
    except FileNotFoundError:
        return None
