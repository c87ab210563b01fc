"""Storage on a local file system."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from rankcli.errors import DamageError, StorageError
from rankcli.storage import locks
from rankcli.storage.atomic import TEMPORARY, make_directory, publish
from rankcli.storage.base import Stat, check_name, is_name
from rankcli.storage.disk import guard, measured
from rankcli.storage.scratch import scratch_file

LOCK, HOLD = "lock", "hold"


@dataclass(frozen=True)
class LocalStorage:
    """The storage in the directory `root`."""

    root: Path

    @property
    def uri(self) -> str:
        """The root as a path."""
        return str(self.root)

    def read_bytes(self, name: str) -> bytes:
        """All of `name`; StorageError if it is missing or no plain file."""
        path = self.fetch(name)
        with guard(path):
            return path.read_bytes()

    def write_bytes(self, name: str, data: bytes) -> None:
        """Make `data` the content of `name`, new or not."""
        target = self._path(name)
        with guard(target, len(data)):
            make_directory(target.parent)
            with scratch_file(self.root) as temporary:
                temporary.write_bytes(data)
                publish(temporary, target)

    def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        """Replace the content of `name` by `new` if it is `old`, under a lock that all swaps of this storage take."""
        check_name(name)
        with locks.exclusive(self.root / LOCK):
            held = self.read_bytes(name) if self.size(name) is not None else None
            if held == old:
                self.write_bytes(name, new)
            return held in (old, new)

    def put(self, path: Path, name: str, *, replace: bool = False) -> bool:
        """Move `path` to `name`, or copy it if it is on another file system; it stays if nothing is done."""
        target = self._path(name)
        with guard(target):
            make_directory(target.parent)
            try:
                self._move(path, target, replace=replace)
            except FileExistsError:
                return self._holds(name, path)
        return True

    def _holds(self, name: str, path: Path) -> bool:
        """True if `name` is a file with the content of the file `path`; StorageError if it is a link to one."""
        if self.size(name) is None:
            return False
        there = self.fetch(name)
        if there.stat().st_size != path.stat().st_size:
            return False
        with path.open("rb") as file, there.open("rb") as held:
            return measured(file) == measured(held)

    def _move(self, path: Path, target: Path, *, replace: bool) -> None:
        """Give a file another name; a file of another file system is copied."""
        try:
            publish(path, target, replace=replace)
            path.unlink(missing_ok=True)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with scratch_file(self.root) as temporary:
                shutil.copyfile(path, temporary)
                publish(temporary, target, replace=replace)

    def fetch(self, name: str) -> Path:
        """The file `name` itself; DamageError if it is missing or no plain file."""
        path = self._path(name)
        try:
            with guard(path):
                mode = path.lstat().st_mode
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise DamageError(error.what, where=error.where, fix=error.fix) from error
            raise
        if not stat.S_ISREG(mode):  # a link may lead anywhere, and opening a pipe would wait for ever
            raise DamageError("not a regular file", where=str(path), fix="remove it")
        return path

    def stat(self, name: str) -> Stat | None:
        """Size, checksum and time of the file `name`, which is read for it; None if it is missing."""
        if self.size(name) is None:
            return None
        path = self.fetch(name)
        with guard(path), path.open("rb") as file:
            return Stat(*measured(file), os.fstat(file.fileno()).st_mtime)

    def size(self, name: str) -> int | None:
        """Bytes of the file `name`; None if it is missing."""
        path = self.root / check_name(name)
        return path.lstat().st_size if path.is_file() and not self._linked(path) else None

    def list(self, name: str = "") -> list[str]:
        """The names directly in the directory `name`, sorted."""
        path = self._directory(name)
        if path is None:
            return []
        with guard(path):
            return sorted(entry for entry in os.listdir(path) if is_name(entry) and not is_own(entry))

    def below(self, name: str = "") -> Sequence[str]:
        """The names of all files below the directory `name`; links are not followed."""
        top = self._directory(name)
        if top is None:
            return []
        found: list[str] = []
        with guard(top):
            for folder, inner, files in os.walk(top):
                inner[:] = [entry for entry in inner if is_name(entry) and not is_own(entry)]
                wanted = (entry for entry in files if is_name(entry) and not is_own(entry))
                found += [os.path.relpath(os.path.join(folder, entry), top) for entry in wanted]
        return sorted(found)

    def delete(self, name: str) -> None:
        """Remove the file or directory `name`, if it exists."""
        path = self._path(name)
        with guard(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Have the lock `name` alone."""
        return locks.exclusive(self._path(f"{name}/{LOCK}"))

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Mark the directory `name` as in use."""
        return locks.shared(self._path(f"{name}/{HOLD}"))

    def held(self, name: str) -> bool:
        """True if a process has the lock `name` or uses the directory `name` now."""
        return any(locks.taken(self._path(f"{name}/{file}")) for file in (LOCK, HOLD))

    def _directory(self, name: str) -> Path | None:
        """The directory `name`; None if it is no directory or a link leads to it."""
        path = self.root / check_name(name) if name else self.root
        return None if not path.is_dir() or (name and self._linked(path / LOCK)) else path

    def _path(self, name: str) -> Path:
        """The path of `name`; StorageError if a directory on the way is a link, which could lead out of the storage."""
        path = self.root / check_name(name)
        if link := self._linked(path):
            raise StorageError("a link to a directory, which is not followed", where=str(link), fix="remove it")
        return path

    def _linked(self, path: Path) -> Path | None:
        """The first directory between the root and `path` that is a link; None if none is."""
        between = reversed(path.relative_to(self.root).parents[:-1])
        return next((self.root / parent for parent in between if (self.root / parent).is_symlink()), None)


def is_own(entry: str) -> bool:
    """True for names of locks and temporary files."""
    return entry in (LOCK, HOLD) or entry.startswith(TEMPORARY) or f".{TEMPORARY}" in entry
