"""Paths in a configuration: local paths and `gs://` URIs. A URI must not become a Path, which would fold its `//`."""

from __future__ import annotations

import posixpath

REMOTE = "gs://"
_LOCAL = ("/", "~")


def joined(source: str, path: str) -> str | None:
    """Resolve `path`, written in the file `source`, to a `gs://` URI; None if it names a local file."""
    if path.startswith(REMOTE):
        return path
    if not source.startswith(REMOTE) or path.startswith(_LOCAL):
        return None
    bucket, _, name = source.removeprefix(REMOTE).partition("/")
    target = posixpath.normpath(posixpath.join("/", posixpath.dirname(name), path))
    return f"{REMOTE}{bucket}{target}"


def shortened(path: str) -> str:
    """Return a path's file name with its last folder, as a short name of a collection."""
    return "/".join(path.split("/")[-2:])
