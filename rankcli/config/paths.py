"""Paths as a configuration writes them: local ones, and `gs://` ones, which no Path may touch (it would fold `//`)."""

from __future__ import annotations

import posixpath

REMOTE = "gs://"
_LOCAL = ("/", "~")


def joined(source: str, path: str) -> str | None:
    """Where `path` leads from a file at the URI `source`, as a URI; None if it is local, or `source` is."""
    if path.startswith(REMOTE):
        return path
    if not source.startswith(REMOTE) or path.startswith(_LOCAL):
        return None
    bucket, _, name = source.removeprefix(REMOTE).partition("/")
    target = posixpath.normpath(posixpath.join("/", posixpath.dirname(name), path))
    return f"{REMOTE}{bucket}{target}"
