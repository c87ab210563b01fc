"""Local copies of objects: verified, shared by the processes of this machine, and bounded in size.

A copy is used under a shared lock on its file (`flock`), which the process keeps for the copies it fetched last. Copies
that were used longest ago are removed for new ones, but never those that a living process has locked: together they may
exceed the limit, and so may one object that is larger than it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rankcli.storage.atomic import TEMPORARY, sync, unique
from rankcli.storage.disk import guard, measured
from rankcli.storage.mark import mark_of

LIMIT_BYTES = 20 * 10**9
LIMIT_OF_FREE = 4  # copies take at most 1 / LIMIT_OF_FREE of the disk space that is free or theirs
LAST = 16  # copies that a process keeps locked
_LOCK = "lock"
_ENTRY = re.compile(rf"[0-9a-f]{{32}}(?:\.{re.escape(TEMPORARY)}([0-9]+)\..*)?")
_DOWNLOADS = "downloads"


class _Kept:
    """The descriptors with which this process locks copies: `fixed` for its whole life, `last` until others follow."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.fixed: dict[Path, int] = {}
        self.last: OrderedDict[Path, int] = OrderedDict()

    def add(self, path: Path, descriptor: int, *, fixed: bool) -> None:
        """Keep the descriptor of a locked copy, in place of an older one of the same copy."""
        with self.mutex:
            fixed = fixed or path in self.fixed
            for kept in (self.fixed, self.last):
                if path in kept:
                    os.close(kept.pop(path))
            (self.fixed if fixed else self.last)[path] = descriptor
            if len(self.last) > LAST:
                os.close(self.last.popitem(last=False)[1])


_kept = _Kept()


class _Entry(NamedTuple):
    """A file in the stage, in the order of removal; `bytes` is its size, or the final size of an unfinished one."""

    whole: bool
    used_ns: int
    path: Path
    bytes: int


@dataclass(frozen=True)
class Stage:
    """The copies in the folder `root`; `limit` bytes, by default from LIMIT_BYTES and LIMIT_OF_FREE."""

    root: Path
    limit: int | None = None

    def get(
        self, key: str, size: int, crc32c: int, download: Callable[[BinaryIO], None], *, fixed: bool = False
    ) -> Path:
        """A local file of this size and checksum: the copy called `key`, written by `download` if it is missing.

        It stays until this process has fetched LAST others or, with `fixed`, until the process ends. Errors of
        `download` are passed on.
        """
        path = self.root / hashlib.sha256(key.encode()).hexdigest()[:32]
        with guard(self.root):
            (self.root / _DOWNLOADS).mkdir(parents=True, exist_ok=True)
            with _alone(self.root / _DOWNLOADS / path.name[:3]):  # only one process downloads the same copy
                descriptor = self._open(path, size, crc32c)
                if descriptor is None:
                    descriptor = self._download(path, size, download)
            _kept.add(path, descriptor, fixed=fixed)
        return path

    def _open(self, path: Path, size: int, crc32c: int) -> int | None:
        """A locked descriptor of the copy; None if there is none, or it is damaged."""
        with _alone(self.root / _LOCK):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            os.utime(descriptor)
        with open(descriptor, "rb", closefd=False) as file:
            if measured(file) == (size, crc32c):
                return descriptor
        os.close(descriptor)
        return None

    def _download(self, path: Path, size: int, download: Callable[[BinaryIO], None]) -> int:
        """Download the copy, and return a locked descriptor of it."""
        temporary = path.with_name(f"{path.name}.{TEMPORARY}{size}.{unique()}")
        with _alone(self.root / _LOCK):
            self._make_room(size)
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            with os.fdopen(os.dup(descriptor), "r+b") as file:
                download(file)
            os.fsync(descriptor)
            with _alone(self.root / _LOCK):
                temporary.replace(path)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            sync(self.root)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            os.close(descriptor)
            raise
        return descriptor

    def _make_room(self, bytes_: int) -> None:
        """Remove the remains of dead processes, and copies without a lock, oldest use first, as far as needed."""
        entries = sorted(self._entries())
        taken = sum(entry.bytes for entry in entries)
        limit = self._limit(taken)
        for entry in entries:
            if (not entry.whole or taken + bytes_ > limit) and _removed(entry.path):
                taken -= entry.bytes

    def _entries(self) -> Iterator[_Entry]:
        for entry in os.scandir(self.root):
            match = _ENTRY.fullmatch(entry.name)
            if match and entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                yield _Entry(match[1] is None, status.st_mtime_ns, Path(entry.path), int(match[1] or status.st_size))

    def _limit(self, taken: int) -> int:
        if self.limit is not None:
            return self.limit
        return min(LIMIT_BYTES, (shutil.disk_usage(self.root).free + taken) // LIMIT_OF_FREE)


def _removed(path: Path) -> bool:
    """Remove a copy unless a process has it locked; True if it was removed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        mark_of(path).unlink(missing_ok=True)
        path.unlink()
        return True
    finally:
        os.close(descriptor)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Have the lock file `path` alone; every thread or process has it only for a short time."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing does not release it if the process was forked meanwhile
        os.close(descriptor)
