"""Sizes and checksums of files, noted in another file when they are written, and compared before they are used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import google_crc32c

from rankcli.errors import DamageError
from rankcli.storage.disk import guard, measured
from rankcli.storage.json_files import open_regular

Noted = Mapping[str, Mapping[str, Any]]  # by file name


def noted(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size and CRC32C of some files of a folder."""
    found = {}
    for name in names:
        with guard(folder / name), open_regular(folder / name) as file:
            found[name] = _note(*measured(file))
    return found


def noted_bytes(data: bytes) -> dict[str, Any]:
    """Size and CRC32C of a file with this content."""
    return _note(len(data), google_crc32c.value(data))


def check_noted(folder: Path, known: Noted, fix: str = "") -> None:
    """Compare files of a folder with what was noted of them; DamageError for one that is missing or differs.

    Another StorageError is raised for a file that cannot be read.
    """
    if not isinstance(known, Mapping):
        raise DamageError(f"its list of files is {str(known)[:40]!r}", where=str(folder), fix=fix)
    for name, note in known.items():
        path = folder / name
        if not path.is_file():
            raise DamageError("the file is missing", where=str(path), fix=fix)
        if noted(folder, [name])[name] != note:
            raise DamageError("the file is not what was written: its checksum differs", where=str(path), fix=fix)


def _note(size: int, crc32c: int) -> dict[str, Any]:
    return {"bytes": size, "crc32c": f"{crc32c:08x}"}
