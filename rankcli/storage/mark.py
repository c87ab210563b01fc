"""The proof that a local folder is a copy that we made of something in a bucket, so that it may be removed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

SUFFIX = ".uri"


class Mark(NamedTuple):
    """A folder is named after `chars` digits of the hash of a URI; a file next to it, called NAME.uri, has the URI."""

    uri: str
    chars: int

    @property
    def name(self) -> str:
        """The folder's name."""
        return hashlib.sha256(self.uri.encode()).hexdigest()[: self.chars]

    def put(self, folder: Path) -> None:
        """Write the file, unless it is there."""
        if not is_marked(folder):
            mark_of(folder).write_text(self.uri, encoding="utf-8")


def mark_of(folder: Path) -> Path:
    """The file that proves that `folder` is ours."""
    return folder.with_name(f"{folder.name}{SUFFIX}")


def is_marked(folder: Path) -> bool:
    """True if the file is there and its URI has the hash that the folder is named after."""
    try:
        uri = mark_of(folder).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return Mark(uri, len(folder.name)).name == folder.name
