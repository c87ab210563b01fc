"""A run directory in a bucket, and the local folder that is used in its place.

A reader of the bucket finds a directory complete or without its marker: `state.json` of a checkpoint, `rankcli.json` of
weights, `result.json` of the whole run. A marker is uploaded after the files of its directory, and deleted before any
of them is replaced.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rankcli.errors import ConfigError, StorageError
from rankcli.storage._gcs_lease import lease
from rankcli.storage._gcs_meta import ABSENT, Meta, content_of
from rankcli.storage.atomic import TEMPORARY, replacing_file
from rankcli.storage.base import is_remote
from rankcli.storage.claim import LOCK, claimed
from rankcli.storage.disk import guard
from rankcli.storage.inputs import below, download, is_copy, located, tree
from rankcli.storage.mark import Mark

FOLDER = "runs"
RUN = "run.json"  # names the run: uploaded first, deleted last
RESULT = "result.json"
MARKERS = ("state.json", "rankcli.json", RESULT)
_MARKED = re.compile(r"(?P<directory>(?:.*/)?(?:(?P<checkpoint>checkpoints)|best)/[^/]+)/.*")


class Look(NamedTuple):
    """The properties of a file that change with its content, so that it need not be read."""

    bytes: int
    mtime_ns: int
    inode: int


class Mirror:
    """The directory `uri`. `path` is the local directory to use: the same or, for a bucket, a folder in `root`/runs.

    For a local directory `pull` and `push` do nothing.
    """

    def __init__(self, uri: str | Path, root: Path) -> None:
        self.root, self.remote = root, is_remote(uri)
        self.uri = str(uri).rstrip("/") if self.remote else str(Path(uri))
        self._objects: dict[str, Meta] = {}  # in the bucket
        self._looks: dict[str, Look] = {}  # of the local files when they last equalled the objects
        if not self.remote:
            self.path = Path(uri)
            return
        self.bucket, self.name = located(self.uri)
        self._mark = Mark(self.bucket.uri(self.name), 32)
        self.path = root / FOLDER / self._mark.name

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Make the folder and lock the directory; a directory in a bucket is pulled.

        ConfigError if it cannot be made, or if another process of this machine has it. Waits for a process of another
        machine.
        """
        self._make()
        with claimed(self.path, self.uri):
            if not self.remote:
                yield
                return
            with lease(self.bucket, below(self.name, LOCK)):
                self.pull()
                yield

    def pull(self) -> None:
        """Make the local folder equal to the bucket, without incomplete checkpoints and weights."""
        if not self.remote:
            return
        self._objects = {name: meta for name, meta in tree(self.uri).items() if not _is_temporary(name)}
        wanted = {name: meta for name, meta in self._objects.items() if _is_complete(name, self._objects)}
        with guard(self.path):
            self._tidy(wanted)
            for name, meta in wanted.items():
                self._fetch(name, meta)
            files = self._files()
        self._looks = {name: files[name] for name in wanted}

    def push(self) -> None:
        """Upload files that have changed since the last time, and delete the objects of files that are gone."""
        if not self.remote:
            return
        files = self._files()
        changed = {name for name, look in files.items() if self._looks.get(name) != look}
        gone = self._objects.keys() - files.keys()
        stale = self._outdated(changed, gone)
        for name in sorted(stale, key=_last_first):
            self._delete(name)
        for name in sorted(changed | (stale - gone), key=_first_first):
            self._upload(name, files[name])
        for name in sorted(gone - stale, key=_last_first):
            self._delete(name)

    def set_aside(self) -> str:
        """Move the directory to the first free `URI.old-N`, which is returned."""
        if not self.remote and Path.cwd().is_relative_to(self.path.resolve()):
            raise ConfigError(
                "the working directory is in it: it cannot be moved", where=self.uri, fix="give another --out"
            )
        number = 1
        while self._sibling(number).exists():
            number += 1
        old = self._sibling(number)
        with self.claimed():
            if old.path.exists():  # left by an older directory of this name
                shutil.rmtree(old.path)
            self.path.rename(old.path)
            (old.path / LOCK).unlink()
            old.push()
            self.push()
            if old.remote:
                shutil.rmtree(old.path)
        return old.uri

    def check(self) -> None:
        """Raise MissingError, before any work is done, if the bucket is missing or we have no permission."""
        if self.remote:
            self.exists()

    def exists(self) -> bool:
        """True if there is anything of this name."""
        return not all(map(_is_temporary, tree(self.uri))) if self.remote else self.path.exists()

    def _sibling(self, number: int) -> Mirror:
        return Mirror(f"{self.uri}.old-{number}", self.root)

    def _outdated(self, changed: set[str], gone: set[str]) -> set[str]:
        """The markers in the bucket that must be deleted first: another file of their directory is about to change.

        A marker that is gone, too, because its whole directory is, is deleted with it, after uploads.
        """
        markers = [name for name in self._objects if Path(name).name in MARKERS]
        return {
            marker
            for marker in markers
            if any(_vouches(marker, name) for name in changed)
            or (marker not in gone and any(_vouches(marker, name) for name in gone))
        }

    def _files(self) -> dict[str, Look]:
        """The files of the local folder, without temporary ones."""
        found = {}
        with guard(self.path):
            for path in self.path.rglob("*") if self.path.is_dir() else ():
                name = path.relative_to(self.path).as_posix()
                if path.is_file() and not _is_temporary(name):
                    status = path.stat()
                    found[name] = Look(status.st_size, status.st_mtime_ns, status.st_ino)
        return found

    def _fetch(self, name: str, meta: Meta) -> None:
        path = self.path / name
        if not is_copy(path, meta):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing_file(path) as temporary:
                download(self.bucket, below(self.name, name), meta, temporary)

    def _upload(self, name: str, look: Look) -> None:
        known, path = self._objects.get(name), self.path / name
        with guard(path), path.open("rb") as file:
            meta = self.bucket.upload(below(self.name, name), content_of(file), known.generation if known else ABSENT)
        if meta is None:
            raise self._foreign(name)
        self._objects[name], self._looks[name] = meta, look

    def _delete(self, name: str) -> None:
        if not self.bucket.remove(below(self.name, name), self._objects[name].generation):
            raise self._foreign(name)
        del self._objects[name]
        self._looks.pop(name, None)

    def _foreign(self, name: str) -> StorageError:
        return StorageError(
            "another process has written this object",
            where=f"{self.uri}/{name}",
            fix="let one training at a time use a run directory, and start this one again",
        )

    def _make(self) -> None:
        try:
            with guard(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                if self.remote:
                    self._mark.put(self.path)
        except StorageError as error:
            if not isinstance(error.__cause__, (FileExistsError, NotADirectoryError)):
                raise
            what = "this is a file" if self.path.exists() else f"cannot be made: {error.what}"
            raise ConfigError(what, where=self.uri, fix="give another --out") from error

    def _tidy(self, wanted: Iterable[str]) -> None:
        """Remove all but the wanted files from the local folder, and directories that are then empty."""
        for path in sorted(self.path.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(self.path).as_posix() not in wanted and path.name != LOCK:
                path.unlink()


def _is_temporary(name: str) -> bool:
    return f".{TEMPORARY}" in name


def _is_complete(name: str, names: Iterable[str]) -> bool:
    """True if the checkpoint or the weights that contain the object have their marker, or if it is in neither."""
    match = _MARKED.fullmatch(name)
    return match is None or f"{match['directory']}/{'state.json' if match['checkpoint'] else 'rankcli.json'}" in names


def _vouches(marker: str, name: str) -> bool:
    """True if `marker` says that the file `name` is complete."""
    folder = marker.rpartition("/")[0]
    return marker != name and (not folder or name.startswith(f"{folder}/"))


def _first_first(name: str) -> tuple[int, int, str]:
    """The order of uploads: `run.json`, files, the markers of directories, the results of runs, inner ones first."""
    last = Path(name).name
    rank = 0 if last == RUN else 3 if last == RESULT else 2 if last in MARKERS else 1
    return rank, -name.count("/"), name


def _last_first(name: str) -> tuple[int, int, str]:
    """The order of deletions: results, outer ones first, the markers of directories, files, `run.json`."""
    rank, depth, _ = _first_first(name)
    return -rank, -depth, name
