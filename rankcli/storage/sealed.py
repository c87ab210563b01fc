"""JSON with a checksum of itself, for files whose damage must be noticed before their content is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google_crc32c

from rankcli.errors import DamageError, StorageError
from rankcli.storage.disk import guard
from rankcli.storage.json_files import parse_object, small_file

Kinds = Mapping[str, type | tuple[type, ...]]
CHECKSUM = "checksum"


def sealed(content: Mapping[str, Any]) -> bytes:
    """JSON with a checksum of itself; the same bytes for the same content."""
    return _json({**content, CHECKSUM: _checksum(content)}) + b"\n"


def unsealed(data: bytes) -> dict[str, Any]:
    """The content of bytes that `sealed` made; ValueError or KeyError if they are damaged."""
    content: dict[str, Any] = json.loads(data)
    if content.pop(CHECKSUM) != _checksum(content):
        raise ValueError("its checksum does not match")
    return content


def with_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
    """JSON content with a checksum of itself as the last entry, for files that people read, in their order."""
    plain = json.loads(json.dumps(content, allow_nan=False))  # as it is read back: lists, keys that are text
    return {**plain, CHECKSUM: _checksum(plain)}


def read_checked(path: Path, kinds: Kinds, *, where: str = "", fix: str = "") -> dict[str, Any]:
    """The content of a small JSON file that `with_checksum` made, or an older version without one.

    DamageError if the checksum does not match, or if an entry of `kinds` is missing or of another type.
    """
    where = where or str(path)
    try:
        with guard(path):
            data = small_file(path)
        content = parse_object(data, where, fix=fix)
    except StorageError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
            raise  # it cannot be read, and may be whole
        raise DamageError(error.what, where=where, fix=fix) from error
    if CHECKSUM in content and not _matches(content.pop(CHECKSUM), content):
        raise DamageError("its checksum does not match: it was changed or damaged", where=where, fix=fix)
    check_kinds(content, kinds, where, fix)
    return content


def check_kinds(content: Mapping[str, Any], kinds: Kinds, where: str, fix: str = "") -> None:
    """Raise DamageError if an entry of `kinds` is missing or of another type."""
    for name, kind in kinds.items():
        if name not in content or not isinstance(content[name], kind) or isinstance(content[name], bool):
            found = f"is {str(content[name])[:40]!r}" if name in content else "is missing"
            raise DamageError(f"its entry {name!r} {found}", where=where, fix=fix)


def _matches(checksum: Any, content: Mapping[str, Any]) -> bool:
    try:
        return bool(checksum == _checksum(content))
    except ValueError:  # NaN or half of a surrogate pair, which we never write
        return False


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def _checksum(content: Mapping[str, Any]) -> str:
    return f"{google_crc32c.value(_json(content)):08x}"
