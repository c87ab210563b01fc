"""Files that are no regular files: they are not opened, since a pipe would block."""

from __future__ import annotations

import stat
from pathlib import Path

from rankcli.storage.base import Storage, is_remote
from rankcli.storage.disk import guard

_KINDS = {stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFDIR: "a folder", stat.S_IFSOCK: "a socket"}


def irregular(storage: Storage, name: str) -> str:
    """Return the kind of a local path that is not a regular file: `a link`, `a pipe`, `a folder`; empty for files, for
    missing paths and in remote storage.
    """
    if is_remote(storage.uri):
        return ""
    path = Path(storage.uri, name)
    with guard(path):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return ""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "a device")
