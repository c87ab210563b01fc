"""Files that we derive from a collection and keep: named after what they are made of, with a SHA-256 beside them.

The hash is written last, so a file without one does not count as kept. It is compared once per change of the file.
"""

from __future__ import annotations

from pathlib import Path

from rankcli.data.files import replacing, sha256_file
from rankcli.data.hashes import input_sha256
from rankcli.errors import DamageError, StorageError
from rankcli.log import warn
from rankcli.storage.disk import guard
from rankcli.storage.json_files import small_file

SUFFIX = ".sha256"


def seal_of(path: Path) -> Path:
    """The file with the hash."""
    return path.with_suffix(SUFFIX)


def seal(path: Path) -> None:
    """Write the hash of a complete file. Processes that make the same file at the same time write the same bytes."""
    with replacing(seal_of(path)) as stream:
        stream.write(sha256_file(path))


def is_kept(path: Path) -> bool:
    """True if the file is there with its hash; DamageError if it is not what was written."""
    if not seal_of(path).exists():
        return False
    with guard(seal_of(path)):
        known = small_file(seal_of(path)).decode(errors="replace").strip()
    if not path.is_file():  # a pipe would be waited for
        raise DamageError(
            "the kept file is missing or no plain file", where=str(path), fix=f"delete {seal_of(path).name} beside it"
        )
    if input_sha256(path) != known:
        fix = f"delete {seal_of(path).name} beside it: it is made anew"
        raise DamageError("the kept file is damaged: its hash differs", where=str(path), fix=fix)
    return True


def is_whole(path: Path) -> bool:
    """`is_kept` for files that are made again when they are damaged: it is told, and False."""
    if path.exists() and not path.is_file():
        raise StorageError("not a regular file", where=str(path), fix="remove it")
    try:
        return is_kept(path)
    except DamageError as error:
        warn(f"{error.where}: {error.what}; it is made again")
        return False
