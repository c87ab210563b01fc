"""The places of caches, and of the local files that work on them needs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from rankcli.storage.base import is_remote

_DEFAULT = "~/.cache/rankcli"


def cache_uri(storage: str | None) -> str:
    """The place of caches: the option, else $RANKCLI_CACHE, else ~/.cache/rankcli; a local path or a gs:// URI."""
    uri = storage or os.environ.get("RANKCLI_CACHE") or _DEFAULT
    return uri.rstrip("/") if is_remote(uri) else str(Path(uri).expanduser())


def work_root() -> Path:
    """The local folder for files that live as long as a command: that of the caches, if it can be written."""
    root = local_root()
    there = next(place for place in (root, *root.absolute().parents) if place.exists())
    return root if os.access(there, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def local_root(storage: str | None = None) -> Path:
    """The local folder for document stores, unfinished work and copies: that of the caches, unless it is remote."""
    places = (cache_uri(storage), cache_uri(None), str(Path(_DEFAULT).expanduser()))
    return Path(next(place for place in places if not is_remote(place)))
