"""Folders, and zip archives as if they were folders: `scifact.zip/scifact/corpus.jsonl` names a file in one."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from rankcli.errors import ConfigError, DataError

MAGIC = b"PK\x03\x04"


def is_archive(path: str | Path) -> bool:
    """True for a regular file that begins as a zip archive does."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def inside(path: str | Path) -> tuple[str, str] | None:
    """The archive and the name within it, for a path that leads into an archive; else None."""
    for parent in Path(path).parents:
        if parent.is_file():
            return (str(parent), Path(path).relative_to(parent).as_posix()) if is_archive(parent) else None
    return None


def files_in(place: str | Path) -> list[str]:
    """The files in a folder or archive, at any depth, sorted; hidden ones are left out. A file is itself."""
    if os.path.isdir(place):
        names = [str(found.relative_to(place)) for found in Path(place).rglob("*") if found.is_file()]
    elif is_archive(place):
        names = _members(place)
    else:
        return [str(place)]
    return [os.path.join(place, name) for name in sorted(names) if not _hidden(name)]


def open_member(archive: str | Path, name: str) -> BinaryIO:
    """Open a file in an archive."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return cast(BinaryIO, opened.open(name))
    except KeyError:
        raise ConfigError(f"there is no {name!r} in this archive", where=str(archive)) from None
    except (zipfile.BadZipFile, RuntimeError, OSError) as error:  # RuntimeError: encrypted, or packed in another way
        _damaged(archive, error)


def open_only(archive: str | Path) -> BinaryIO:
    """Open the only file of an archive; DataError if it has several or none."""
    names = [name for name in _members(archive) if not _hidden(name)]
    if len(names) == 1:
        return open_member(archive, names[0])
    fix = f"name one: {os.path.join(archive, sorted(names)[0])}" if names else ""
    raise DataError(f"this is a zip archive of {len(names)} files, one is needed", where=str(archive), fix=fix)


def _members(archive: str | Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return [member.filename for member in opened.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        _damaged(archive, error)


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in Path(name).parts)


def _damaged(path: str | Path, error: Exception) -> NoReturn:
    raise DataError(f"the zip archive cannot be read ({error})", where=str(path), fix="fetch it again") from error
