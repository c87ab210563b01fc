"""Files that we derive from a collection and keep: named after what they are made of, with a seal beside them.

The seal, NAME.json, says what the file is made of and has its SHA-256. It is written last, so a file without one does
not count as kept. The hash is compared once per change of the file. The seal's time is that of the last use.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankcli.data.files import sha256_file
from rankcli.data.hashes import input_sha256
from rankcli.errors import DamageError, StorageError
from rankcli.log import warn
from rankcli.storage.atomic import write_file
from rankcli.storage.disk import guard
from rankcli.storage.json_files import small_file
from rankcli.storage.sealed import sealed, unsealed

SUFFIX = ".json"


@dataclass(frozen=True)
class Kept:
    """A file in `folder` that is made of the content `made_of` of `source`, the collection's name in messages."""

    folder: Path
    kind: str
    suffix: str
    made_of: str
    source: str

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / f"{self.kind}-{_hash(self.made_of)}{self.suffix}"

    def seal(self) -> None:
        """Write the seal of a complete file. Processes that make the same file at once write the same bytes."""
        content = {"made_of": self.made_of, "source": self.source, "sha256": sha256_file(self.path)}
        write_file(seal_of(self.path), sealed(content))

    def is_kept(self) -> bool:
        """True if the file is there with its seal; DamageError if it is not what was written."""
        path, seal = self.path, seal_of(self.path)
        if not seal.exists():
            return False
        if not path.is_file():  # a pipe would be waited for
            what, fix = "the kept file is missing or no plain file", f"delete {seal.name} beside it"
            raise DamageError(what, where=str(path), fix=fix)
        with guard(seal):
            known = read_seal(path)
        if known is None or input_sha256(path) != known["sha256"]:
            fix = f"delete {seal.name} beside it: it is made anew"
            raise DamageError("the kept file is damaged: its hash differs", where=str(path), fix=fix)
        with suppress(OSError):  # another user's
            os.utime(seal)
        return True

    def is_whole(self) -> bool:
        """`is_kept` for files that are made again when they are damaged: it is told, and False."""
        if self.path.exists() and not self.path.is_file():
            raise StorageError("not a regular file", where=str(self.path), fix="remove it")
        try:
            return self.is_kept()
        except DamageError as error:
            warn(f"{error.where}: {error.what}; it is made again")
            return False


def seal_of(path: Path) -> Path:
    """The file with the hash."""
    return path.with_suffix(SUFFIX)


def read_seal(path: Path) -> dict[str, Any] | None:
    """Return the content of a file's seal; None if it is damaged, or if the file is not named after it."""
    try:
        found = unsealed(small_file(seal_of(path)))
        return found if path.stem.endswith(f"-{_hash(found['made_of'])}") and found["sha256"] else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
