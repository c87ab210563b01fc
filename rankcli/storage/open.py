"""Open the storage that a URI names."""

from __future__ import annotations

from pathlib import Path

from rankcli.errors import ConfigError
from rankcli.storage.base import Storage
from rankcli.storage.gcs import GcsStorage
from rankcli.storage.local import LocalStorage


def open_storage(uri: str) -> Storage:
    """The storage at `uri`: a local path or `gs://BUCKET/PREFIX`. Nothing is created before the first write."""
    scheme, separator, _ = uri.partition("://")
    if not separator:
        return LocalStorage(Path(uri).expanduser())
    if scheme == "gs":
        return GcsStorage(uri)
    raise ConfigError(f"unknown kind of storage {scheme}://", where=uri, fix="give a local path or gs://BUCKET/PREFIX")
