"""Files and directories that the user named: local ones directly, those of a bucket as verified local copies."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path

from rankcli.errors import ConfigError, StorageError
from rankcli.storage import locks
from rankcli.storage._gcs_client import Changed, Missing
from rankcli.storage._gcs_meta import Meta, content_of
from rankcli.storage._gcs_objects import Bucket
from rankcli.storage.base import is_remote
from rankcli.storage.disk import guard
from rankcli.storage.gcs import GcsStorage, fetch_uri
from rankcli.storage.mark import Mark
from rankcli.storage.places import local_root
from rankcli.storage.scratch import replacing_directory

ATTEMPTS = 5  # to find a directory that does not change while it is copied
FOLDER, LOCK, HOLD = (
    "trees",
    "lock",
    ".hold",
)  # of copies of directories: one changes, many read
_HEX = 16

Tree = dict[str, Meta]

_in_use = ExitStack()  # the copies of directories that this process reads, until it ends


def local_copy(uri: str | Path) -> Path:
    """Return a local path unchanged; for an object in a bucket, a local copy of its present content.

    ConfigError if there is no such object, MissingError without credentials.
    """
    return fetch_uri(str(uri)) if is_remote(uri) else Path(uri)


def exists(uri: str) -> bool:
    """True if there is an object of this name."""
    bucket, name = located(uri)
    return bucket.meta(name) is not None


def tree(uri: str) -> Tree:
    """The objects below `uri`, by their names relative to it; MissingError if there is no such bucket."""
    bucket, name = located(uri)
    prefix = below(name, "")
    found = {full[len(prefix) :]: meta for full, meta in bucket.below(prefix)}
    for each in found:
        if not each.endswith("/") and not _is_path(each):
            raise StorageError(f"the object {each!r} cannot be a file", where=uri, fix="delete or rename it")
    return {each: meta for each, meta in found.items() if not each.endswith("/")}  # consoles make these for "folders"


def local_tree(uri: str, patterns: Sequence[str] = ("*",)) -> Path:
    """A local directory with the objects below `uri` that match a pattern, all as they were at one time.

    Only objects that have changed since the last time are downloaded. ConfigError if nothing matches; StorageError if
    objects are replaced again and again meanwhile. The directory stays until this process ends; do not write into it.
    """
    for _ in range(ATTEMPTS):
        found = {name: meta for name, meta in tree(uri).items() if any(fnmatchcase(name, each) for each in patterns)}
        if not found:
            raise ConfigError("there is no such directory", where=uri, fix="check the bucket and the name")
        try:
            return _copied(uri, found)
        except (Changed, Missing):
            continue  # another process is writing: list again
    raise StorageError("objects there change while they are read", where=uri, fix="run again when they are complete")


def located(uri: str) -> tuple[Bucket, str]:
    """The bucket of a gs:// URI, and the name in it, empty for the bucket itself; ConfigError for any other URI."""
    bucket, _, name = GcsStorage(uri).uri.removeprefix("gs://").partition("/")
    return Bucket(bucket), name


def below(root: str, name: str) -> str:
    """The full name of the object `name` in the directory `root`; an empty `root` is the bucket itself."""
    return f"{root}/{name}" if root else name


def download(bucket: Bucket, name: str, meta: Meta, path: Path) -> None:
    """Write the object `name`, of the generation in `meta`, to the new file `path`."""
    with guard(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w+b") as file:
            bucket.download(name, meta, file)


def is_copy(path: Path, meta: Meta) -> bool:
    """True if a local file has the content of an object."""
    if not path.is_file() or path.is_symlink() or path.stat().st_size != meta.bytes:
        return False
    with guard(path), open(path, "rb") as file:
        return content_of(file).crc32c == meta.crc32c


def _is_path(name: str) -> bool:
    """True if an object's name can be the path of a file below a directory."""
    return "\0" not in name and all(part not in ("", ".", "..") for part in name.split("/"))


def _copied(uri: str, found: Tree) -> Path:
    """The copy of this state of a directory."""
    content = json.dumps(sorted((name, meta.bytes, meta.crc32c) for name, meta in found.items()))
    return kept_tree(uri, content, lambda building, older: _fill(uri, found, building, older))


def kept_tree(source: str, content: str, fill: Callable[[Path, Iterable[Path]], None]) -> Path:
    """A directory that is made of `source`, kept as long as somebody reads it.

    `content` stands for the present content of the source. If there is no such directory, `fill` writes one and is
    given older ones; those without readers are removed.
    """
    mark = Mark(source, _HEX)
    home = local_root() / FOLDER / mark.name
    state = _digest(content)
    directory = home / state
    with locks.exclusive(home / LOCK), guard(home):
        mark.put(home)
        if not directory.is_dir():
            older = [path for path in home.iterdir() if path.is_dir()]
            with replacing_directory(directory) as building:
                fill(building, older)
        _in_use.enter_context(locks.shared(home / f"{state}{HOLD}"))
        _remove_unused(home)
    return directory


def _fill(uri: str, found: Tree, building: Path, older: Iterable[Path]) -> None:
    bucket, root = located(uri)
    for name, meta in found.items():
        kept = next((path / name for path in older if is_copy(path / name, meta)), None)
        if kept is None:
            download(bucket, below(root, name), meta, building / name)
        else:
            (building / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(kept, building / name)


def _remove_unused(home: Path) -> None:
    for hold in home.glob(f"*{HOLD}"):
        if not locks.taken(hold):
            shutil.rmtree(home / hold.stem, ignore_errors=True)
            hold.unlink(missing_ok=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HEX]
