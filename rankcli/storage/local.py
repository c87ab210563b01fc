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

from rankcli.errors import StorageError
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
        """The root as the user would write it."""
        return str(self.root)

    def read_bytes(self, name: str) -> bytes:
        """All of `name`; StorageError where it is missing or something else than a plain file."""
        path = self.fetch(name)
        with guard(path):
            return path.read_bytes()

    def write_bytes(self, name: str, data: bytes) -> None:
        """Make `name` hold `data`, whatever it held."""
        target = self._path(name)
        with guard(target, len(data)):
            make_directory(target.parent)
            with scratch_file(self.root) as temporary:
                temporary.write_bytes(data)
                publish(temporary, target)

    def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        """Make `name` hold `new` if it holds `old`, under a lock that all swaps of this storage take in turn."""
        check_name(name)
        with locks.exclusive(self.root / LOCK):
            held = self.read_bytes(name) if self.size(name) is not None else None
            if held == old:
                self.write_bytes(name, new)
            return held in (old, new)

    def put(self, path: Path, name: str, *, replace: bool = False) -> bool:
        """Move `path` to `name`, or copy it where it is on another file system; it stays if nothing is done."""
        target = self._path(name)
        with guard(target):
            make_directory(target.parent)
            try:
                self._move(path, target, replace=replace)
            except FileExistsError:
                return self._holds(name, path)
        return True

    def _holds(self, name: str, path: Path) -> bool:
        """Whether `name` is a file with the content of the file `path`; StorageError where it is a link to one."""
        if self.size(name) is None:
            return False
        there = self.fetch(name)
        if there.stat().st_size != path.stat().st_size:
            return False
        with path.open("rb") as file, there.open("rb") as held:
            return measured(file) == measured(held)

    def _move(self, path: Path, target: Path, *, replace: bool) -> None:
        """Give a file another name; what is on another file system is copied."""
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
        """The file `name` itself; StorageError where it is missing or something else than a plain file."""
        path = self._path(name)
        with guard(path):
            mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):  # a link may lead anywhere, and opening a pipe would wait for ever
            raise StorageError("not a regular file", where=str(path), fix="remove it")
        return path

    def stat(self, name: str) -> Stat | None:
        """Size, checksum and time of the file `name`, which is read for it; None when there is none."""
        if self.size(name) is None:
            return None
        path = self.fetch(name)
        with guard(path), path.open("rb") as file:
            return Stat(*measured(file), os.fstat(file.fileno()).st_mtime)

    def size(self, name: str) -> int | None:
        """Bytes of the file `name`, None when there is none."""
        path = self.root / check_name(name)
        return path.lstat().st_size if path.is_file() and not self._linked(path) else None

    def list(self, name: str = "") -> list[str]:
        """The names directly in the directory `name`, sorted."""
        path = self._directory(name)
        if path is None:
            return []
        with guard(path):
            return sorted(entry for entry in os.listdir(path) if is_name(entry) and not _ours(entry))

    def below(self, name: str = "") -> Sequence[str]:
        """The names of all files below the directory `name`; links are not followed."""
        top = self._directory(name)
        if top is None:
            return []
        found: list[str] = []
        with guard(top):
            for folder, inner, files in os.walk(top):
                inner[:] = [entry for entry in inner if is_name(entry) and not _ours(entry)]
                wanted = (entry for entry in files if is_name(entry) and not _ours(entry))
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
        """Be the only one that has the lock `name`."""
        return locks.exclusive(self._path(f"{name}/{LOCK}"))

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Be one of any number that use the directory `name`."""
        return locks.shared(self._path(f"{name}/{HOLD}"))

    def held(self, name: str) -> bool:
        """Whether anybody has the lock `name` or holds the directory `name` now."""
        return any(locks.taken(self._path(f"{name}/{file}")) for file in (LOCK, HOLD))

    def _directory(self, name: str) -> Path | None:
        """The directory `name`, if it is one and no link leads to it."""
        path = self.root / check_name(name) if name else self.root
        return None if not path.is_dir() or (name and self._linked(path / LOCK)) else path

    def _path(self, name: str) -> Path:
        """Where `name` lies; StorageError where a link on the way could lead out of the storage."""
        path = self.root / check_name(name)
        if link := self._linked(path):
            raise StorageError("a link to a directory, which is not followed", where=str(link), fix="remove it")
        return path

    def _linked(self, path: Path) -> Path | None:
        """The first directory between the root and `path` that is a link, if one is."""
        between = reversed(path.relative_to(self.root).parents[:-1])
        return next((self.root / parent for parent in between if (self.root / parent).is_symlink()), None)


def _ours(entry: str) -> bool:
    """Locks, and what is still being built."""
    return entry in (LOCK, HOLD) or entry.startswith(TEMPORARY) or f".{TEMPORARY}" in entry
