"""JSON with a checksum of itself, for files whose damage must be noticed before their content is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import google_crc32c


def sealed(content: Mapping[str, Any]) -> bytes:
    """JSON with a checksum of itself; the same bytes for the same content."""
    return _json({**content, "checksum": _checksum(content)}) + b"\n"


def unsealed(data: bytes) -> dict[str, Any]:
    """The content of bytes that `sealed` made; ValueError or KeyError if they are damaged."""
    content: dict[str, Any] = json.loads(data)
    if content.pop("checksum") != _checksum(content):
        raise ValueError("its checksum does not match")
    return content


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def _checksum(content: Mapping[str, Any]) -> str:
    return f"{google_crc32c.value(_json(content)):08x}"
