"""The places of caches, and of the local files that work on them needs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from rankcli.errors import ConfigError
from rankcli.storage.base import is_remote

_DEFAULT = "~/.cache/rankcli"


def cache_uri(storage: str | None) -> str:
    """The place of caches: the option, else $RANKCLI_CACHE, else ~/.cache/rankcli; a local path or a gs:// URI."""
    uri = storage or os.environ.get("RANKCLI_CACHE") or _DEFAULT
    return uri.rstrip("/") if is_remote(uri) else _expanded(uri)


def _expanded(place: str) -> str:
    """A path without `~`; ConfigError where no home folder is known."""
    try:
        return str(Path(place).expanduser())
    except RuntimeError as error:
        raise ConfigError("no home folder is known", where=place, fix="set HOME or RANKCLI_CACHE") from error


def work_root() -> Path:
    """The local folder for files that live as long as a command: that of the caches, if it can be written."""
    root = local_root()
    there = next(place for place in (root, *root.absolute().parents) if place.exists())
    return root if os.access(there, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def local_root(storage: str | None = None) -> Path:
    """The local folder for document stores, unfinished work and copies: that of the caches, unless it is remote."""
    given = next((place for place in (cache_uri(storage), cache_uri(None)) if not is_remote(place)), None)
    return Path(given or _expanded(_DEFAULT))
