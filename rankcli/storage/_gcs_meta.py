"""Generation, size and checksum of objects, by which their contents are told apart."""

from __future__ import annotations

import base64
from typing import Any, BinaryIO, NamedTuple

from rankcli.storage.disk import measured

ABSENT = 0  # the generation of an object that does not exist


class Meta(NamedTuple):
    """An object of one generation, whose content never changes; `modified` in seconds since 1970."""

    generation: int
    bytes: int
    crc32c: int
    modified: float

    def holds(self, content: Content) -> bool:
        """True if the object has this content, by size and checksum."""
        return (self.bytes, self.crc32c) == (content.bytes, content.crc32c)


class Content(NamedTuple):
    """The content of an object, stored or to be stored. `file` is read from its beginning, perhaps more than once."""

    file: BinaryIO
    bytes: int
    crc32c: int


def content_of(file: BinaryIO) -> Content:
    """A file with its size and the CRC32C of all of it."""
    file.seek(0)
    return Content(file, *measured(file))


def meta_of(blob: Any) -> Meta:
    """The properties of an object, from the service's answer."""
    crc = int.from_bytes(base64.b64decode(blob.crc32c), "big")
    return Meta(int(blob.generation), int(blob.size), crc, blob.updated.timestamp())
