"""Storage in a bucket of Google Cloud Storage, and single objects of it that the user named."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from rankcli.errors import ConfigError, DamageError, StorageError
from rankcli.storage import _gcs_lease as leases
from rankcli.storage._gcs_client import Changed, Missing
from rankcli.storage._gcs_objects import ABSENT, Bucket, Meta, content_of
from rankcli.storage.base import Stat, check_name, is_name
from rankcli.storage.disk import guard
from rankcli.storage.mark import Mark
from rankcli.storage.places import local_root
from rankcli.storage.stage import Stage

Result = TypeVar("Result")

LOCK = "lock"
_OURS = re.compile(r"lock|(hold|probe)-[0-9a-f]{32}")
_URI = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(.*))?", re.DOTALL)
_AT_ONCE = 16  # deletions
_ROUNDS = 6  # attempts with objects that others change meanwhile


@dataclass(frozen=True)
class GcsStorage:
    """The storage at `gs://BUCKET/PREFIX`. The client is made at its first use, once per process."""

    uri: str

    def __post_init__(self) -> None:
        _, prefix = _parsed(self.uri.rstrip("/"))
        if prefix and any(part in ("", ".", "..") for part in prefix.split("/")):
            raise ConfigError("not a directory", where=self.uri, fix="give gs://BUCKET/PREFIX without empty parts")
        object.__setattr__(self, "uri", self.uri.rstrip("/"))

    def read_bytes(self, name: str) -> bytes:
        """All of the small object `name`, from one generation and verified."""
        bucket, full = self._object(name)

        def read(meta: Meta) -> bytes:
            return bucket.read(full, meta)

        return _read(bucket, full, read)

    def write_bytes(self, name: str, data: bytes) -> None:
        """Make `data` the content of `name`, new or not."""
        bucket, full = self._object(name)
        _replace(bucket, full, io.BytesIO(data))

    def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        """Replace the content of `name` by `new` if it is `old`; the write requires the generation just compared."""
        bucket, full = self._object(name)
        for _ in range(_ROUNDS):
            meta = bucket.meta(full)
            try:
                held = bucket.read(full, meta) if meta else None
            except (Changed, Missing):
                continue
            if held == new or held != old:
                return held == new
            if bucket.upload(full, content_of(io.BytesIO(new)), meta.generation if meta else ABSENT):
                return True
        raise _restless(bucket, full)

    def put(self, path: Path, name: str, *, replace: bool = False) -> bool:
        """Upload the local file `path`, which stays; True also if `name` has the same content already."""
        bucket, full = self._object(name)
        with guard(path), path.open("rb") as file:
            if replace:
                _replace(bucket, full, file)
                return True
            return bucket.upload(full, content_of(file), ABSENT) is not None

    def fetch(self, name: str) -> Path:
        """A verified local copy of `name`, from the stage."""
        return _staged(*self._object(name))

    def stat(self, name: str) -> Stat | None:
        """Size, checksum and time of the object, from the service; None if it is missing."""
        bucket, full = self._object(name)
        meta = bucket.meta(full)
        return Stat(meta.bytes, meta.crc32c, meta.modified) if meta else None

    def size(self, name: str) -> int | None:
        """Bytes of the object `name`; None if it is missing."""
        found = self.stat(name)
        return found.bytes if found else None

    def list(self, name: str = "") -> list[str]:
        """The names directly below `name`, sorted."""
        bucket, prefix = self._directory(name)
        found = {full for page in bucket.pages(prefix, "/") for full in (*page.objects, *page.prefixes)}
        entries = (full[len(prefix) :].rstrip("/") for full in found)
        return sorted(entry for entry in entries if is_name(entry) and not _OURS.fullmatch(entry))

    def below(self, name: str = "") -> Sequence[str]:
        """The names of all objects below `name`."""
        bucket, prefix = self._directory(name)
        entries = (full[len(prefix) :] for full, _ in bucket.below(prefix))
        return sorted(each for each in entries if is_name(each) and not _OURS.fullmatch(each.rpartition("/")[2]))

    def delete(self, name: str) -> None:
        """Delete the object `name` and all below it."""
        _delete(*self._object(name))

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Have the lock `name` alone."""
        bucket, prefix = self._directory(name)
        return leases.lease(bucket, prefix + LOCK)

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Mark the directory `name` as in use."""
        bucket, prefix = self._directory(name)
        return leases.hold(bucket, f"{prefix}hold-{uuid.uuid4().hex}")

    def held(self, name: str) -> bool:
        """True if a process has the lock `name` or uses that directory: it wrote its object in the last few minutes."""
        bucket, prefix = self._directory(name)
        holds = [meta for _, meta in bucket.below(f"{prefix}hold-")]
        lock = bucket.meta(prefix + LOCK)
        return leases.held(bucket, [*holds, lock] if lock else holds, f"{prefix}probe-{uuid.uuid4().hex}")

    def _object(self, name: str) -> tuple[Bucket, str]:
        bucket, prefix = _parsed(self.uri)
        return Bucket(bucket), f"{prefix}/{check_name(name)}" if prefix else check_name(name)

    def _directory(self, name: str) -> tuple[Bucket, str]:
        bucket, prefix = _parsed(self.uri)
        parts = (prefix, name and check_name(name))
        return Bucket(bucket), "".join(f"{part}/" for part in parts if part)


def fetch_uri(uri: str) -> Path:
    """A verified local copy of an object that the user named; it stays until the process ends.

    ConfigError if there is no such object or bucket.
    """
    bucket, name = _named(uri)
    if bucket.meta(name) is None:
        raise ConfigError("there is no such object", where=uri, fix="check the bucket and the name")
    return _staged(bucket, name, fixed=True)


def upload_uri(path: Path, uri: str) -> None:
    """Upload a local file as an object; a failure leaves the object as it was."""
    bucket, name = _named(uri)
    with guard(path), path.open("rb") as file:
        _replace(bucket, name, file)


def list_uri(uri: str) -> list[str]:
    """The names of all objects below `uri`, relative to it; not checked to be names of files."""
    bucket, prefix = _parsed(uri)
    prefix = prefix.rstrip("/") + "/" if prefix else ""
    return [name[len(prefix) :] for name, _ in Bucket(bucket).below(prefix) if name != prefix]


def delete_uri(uri: str) -> None:
    """Delete an object and all below it, if there are any."""
    _delete(*_named(uri))


def _parsed(uri: str) -> tuple[str, str]:
    """Bucket and object name, which may be empty."""
    match = _URI.fullmatch(uri)
    name = (match[2] or "") if match else ""
    if match is None or name.startswith("/") or not name.isprintable() or len(name.encode(errors="replace")) > 1024:
        raise ConfigError("not a place in Google Cloud Storage", where=repr(uri), fix="give gs://BUCKET/NAME")
    return match[1], name


def _named(uri: str) -> tuple[Bucket, str]:
    bucket, name = _parsed(uri)
    if not name or name.endswith("/"):
        raise ConfigError("not the name of an object", where=uri, fix="give gs://BUCKET/NAME")
    return Bucket(bucket), name


def _read(bucket: Bucket, name: str, read: Callable[[Meta], Result]) -> Result:
    """The result of `read` for the object's present generation; tried again if it is overwritten meanwhile."""
    for _ in range(_ROUNDS):
        meta = bucket.meta(name)
        if meta is None:
            raise DamageError("No such file or directory", where=bucket.uri(name), fix="check the bucket and the name")
        try:
            return read(meta)
        except (Changed, Missing):
            continue
    raise _restless(bucket, name)


def _staged(bucket: Bucket, name: str, *, fixed: bool = False) -> Path:
    def stage(meta: Meta) -> Path:
        key = f"{bucket.uri(name)}#{meta.generation}"
        place = Stage(local_root() / "stage")
        path = place.get(key, meta.bytes, meta.crc32c, lambda file: bucket.download(name, meta, file), fixed=fixed)
        Mark(key, len(path.name)).put(path)
        return path

    return _read(bucket, name, stage)


def _replace(bucket: Bucket, name: str, file: BinaryIO) -> None:
    """Overwrite the present generation only, so that a delayed request overwrites nothing newer."""
    content = content_of(file)
    for _ in range(_ROUNDS):
        now = bucket.meta(name)
        if now and now.holds(content):
            return
        if bucket.upload(name, content, now.generation if now else ABSENT):
            return
    raise _restless(bucket, name)


def _restless(bucket: Bucket, name: str) -> StorageError:
    fix = "let one process at a time write it"
    return StorageError("others overwrite this object again and again", where=bucket.uri(name), fix=fix)


def _delete(bucket: Bucket, name: str) -> None:
    for _ in range(_ROUNDS):
        found = [*bucket.below(f"{name}/")]
        if meta := bucket.meta(name):
            found.append((name, meta))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            if all(pool.map(lambda item: bucket.remove(item[0], item[1].generation), found)):
                return
    raise _restless(bucket, name)
