"""Texts as they lie in the document store: long ones compressed."""

from __future__ import annotations

import zlib

_COMPRESS_FROM = 1024  # characters; on a passage, compression saves a third and takes longer than all other work on it


def packed(text: str) -> str | bytes:
    """The text, compressed if it is long."""
    if len(text) < _COMPRESS_FROM:
        return text
    return zlib.compress(text.encode(), 1)


def unpacked(value: str | bytes) -> str:
    """The text that was packed; zlib.error if it is damaged."""
    return zlib.decompress(value).decode() if isinstance(value, bytes) else value
