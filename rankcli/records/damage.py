"""What is said of a cache that is not what was written."""

from __future__ import annotations

from rankcli.errors import StorageError

_FIX = "`rankcli cache verify --repair` makes it again, as does a training"


def damaged(what: str, where: str) -> StorageError:
    """The error that names what was found, and what to do."""
    return StorageError(what, where=where, fix=_FIX)
