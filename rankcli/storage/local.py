"""Storage on a local file system."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from rankcli.errors import StorageError
from rankcli.storage.atomic import TEMPORARY, sync, write_file
from rankcli.storage.base import check_name, guard, is_name
from rankcli.storage.scratch import scratch


@dataclass(frozen=True)
class LocalStorage:
    """The storage in the directory `root`."""

    root: Path

    @property
    def uri(self) -> str:
        """The root as the user would write it."""
        return str(self.root)

    def fetch(self, name: str) -> Path:
        """The file `name`; StorageError where it is missing or something else than a plain file."""
        path = self._path(name)
        with guard(path):
            mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):  # a link may lead anywhere, and opening a pipe would wait for ever
            raise StorageError("not a regular file", where=str(path), fix="remove it")
        return path

    def read_bytes(self, name: str) -> bytes:
        """All of `name`."""
        path = self.fetch(name)
        with guard(path):
            return path.read_bytes()

    def write_bytes(self, name: str, data: bytes, *, replace: bool = True) -> bool:
        """Make `name` hold `data`, at once; False, and nothing done, if it exists and `replace` is not set."""
        return write_file(self._path(name), data, replace=replace)

    def list(self, name: str = "") -> list[str]:
        """The names directly in the directory `name`, sorted."""
        path = self._path(name) if name else self.root
        if not path.is_dir():
            return []
        with guard(path):
            return sorted(entry for entry in os.listdir(path) if is_name(entry) and not _being_built(entry))

    def size(self, name: str) -> int | None:
        """Bytes of the file `name`, None when there is none."""
        path = self._path(name)
        return path.lstat().st_size if path.is_file() else None

    def delete(self, name: str) -> None:
        """Remove the file or directory `name`, if it exists."""
        path = self._path(name)
        with guard(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def scratch(self) -> AbstractContextManager[Path]:
        """A new directory below the root, so that publishing is a rename."""
        return scratch(self.root)

    def publish(self, directory: Path, name: str) -> bool:
        """Rename `directory` to `name`; False where `name` exists already. Its files must have been synced before."""
        target = self._path(name)
        with guard(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            sync(directory)
            try:
                directory.rename(target)  # fails where there is something, unless that is an empty directory
            except OSError:
                if target.exists():
                    return False
                raise
            sync(target.parent)
            sync(self.root)
        return True

    def _path(self, name: str) -> Path:
        return self.root / check_name(name)


def _being_built(entry: str) -> bool:
    return entry.startswith(TEMPORARY) or f".{TEMPORARY}" in entry
