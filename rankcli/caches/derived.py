"""Files that commands make of the user's files and keep: each proves by its name and its seal that it is ours."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from rankcli.data import features, hashes, store, triples
from rankcli.data.kept import read_seal, seal_of
from rankcli.runs import candidates, journal, tuned
from rankcli.storage.disk import guard
from rankcli.storage.json_files import small_file
from rankcli.storage.locks import exclusive, removing, taken
from rankcli.storage.mark import is_marked, mark_of
from rankcli.storage.sealed import unsealed

DOCUMENTS, FIRST_STAGE, TRIPLES, FEATURES = "documents", "first stage", "triples", "features"
RERANK, HASHES, DOWNLOADS = "unfinished rerank", "hashes of inputs", "copies of files"
RESUMED = (RERANK, HASHES)  # somebody may go on with it, so it does not count as unused
_COPY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Thing:
    """A file or folder of one kind, made of `source`. `files` are all that go with it, in the order of removal."""

    kind: str
    path: Path
    source: str
    files: tuple[Path, ...]

    @property
    def stats(self) -> list[os.stat_result]:
        """The sizes and times of the regular files, but for those that are gone."""
        found = []
        for path in self.files:
            with suppress(FileNotFoundError):
                found.append(path.lstat())
        return [each for each in found if stat.S_ISREG(each.st_mode)]

    @property
    def in_use(self) -> bool:
        """True if a process uses it now."""
        if self.kind == RERANK:
            return taken(self.path / journal.LOCK)
        if self.kind == HASHES:
            return taken(self.path.with_name(hashes.LOCK))
        with removing(self._read) as free:
            return not free

    @property
    def _read(self) -> Path:
        """The file that readers lock."""
        return self.path / triples.META if self.kind == TRIPLES else self.path

    def remove(self, busy: Callable[[str], None]) -> bool:
        """Remove it. Return False, or call `busy`, if a process uses it."""
        with guard(self.path), self._alone(busy) as free:
            if free is not False:
                self._delete()
            return free is not False

    def _alone(self, busy: Callable[[str], None]) -> AbstractContextManager[bool | None]:
        if self.kind == RERANK:
            return exclusive(self.path / journal.LOCK, busy)
        if self.kind == HASHES:
            return exclusive(self.path.with_name(hashes.LOCK), busy)
        return removing(self._read)

    def _delete(self) -> None:
        """Remove these files alone: another one may have come meanwhile, and then its folder stays, too."""
        for path in self.files:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()


def things(root: Path) -> Iterator[Thing]:
    """Yield all that is proved to be ours in `root`, by kind and in the order of names. Links are never followed."""
    yield from _sealed(root, DOCUMENTS, f"{store.KIND}-*{store.SUFFIX}")
    for kind in (candidates, tuned):
        yield from _sealed(root, FIRST_STAGE, f"{kind.KIND}-*{kind.SUFFIX}")
    yield from _sealed(root, FEATURES, f"{features.KIND}-*{features.SUFFIX}")
    for folder in _folders(root, "triples-*"):
        if (source := triples.source_of(folder)) is not None and _holds(folder, (*triples.FILES, triples.META)):
            yield Thing(TRIPLES, folder, source, tuple(folder.iterdir()))
    for folder in _folders(root / journal.FOLDER, "*"):
        about = journal.about(folder)
        if about and _holds(folder, journal.FILES):
            yield Thing(RERANK, folder, str(about["output"]), tuple(folder / name for name in journal.FILES))
    for path in filter(_is_list, _files(root, hashes.NAME)):
        yield Thing(HASHES, path, "", (path,))
    for path in _files(root / "stage", "*"):
        if _COPY.fullmatch(path.name) and is_marked(path):
            mark = mark_of(path)
            yield Thing(DOWNLOADS, path, mark.read_text(encoding="utf-8"), (mark, path))


def _sealed(root: Path, kind: str, pattern: str) -> Iterator[Thing]:
    for path in _files(root, pattern):
        with suppress(OSError):
            if (seal := read_seal(path)) is not None:
                yield Thing(kind, path, str(seal.get("source", "")), (seal_of(path), path))


def _is_list(path: Path) -> bool:
    try:
        return isinstance(unsealed(small_file(path))["files"], list)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _holds(folder: Path, names: tuple[str, ...]) -> bool:
    """True if a folder holds nothing else."""
    return all(path.name in names and path.is_file() and not path.is_symlink() for path in folder.iterdir())


def _files(root: Path, pattern: str) -> list[Path]:
    found = root.glob(pattern) if root.is_dir() and not root.is_symlink() else ()
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def _folders(root: Path, pattern: str) -> list[Path]:
    found = root.glob(pattern) if root.is_dir() and not root.is_symlink() else ()
    return sorted(path for path in found if path.is_dir() and not path.is_symlink())
