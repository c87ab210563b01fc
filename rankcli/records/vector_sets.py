"""Sets of kept vectors: what each is made of, and its shards with their checksums.

A set is at `SET_ID/1` in storage: its shards and, written after each of them, `manifest.json`. Whoever makes vectors
has the lock `SET_ID`, whoever reads them holds `SET_ID/1`. The set id is the hash of all that decides a vector besides
its text. A shard has the keys of its texts, 16 bytes each, and then their vectors. Shards never change: new texts come
in new ones. Files that the manifest does not list are no part of the set.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from rankcli.config.identity import differences, digest
from rankcli.errors import DamageError, StorageError
from rankcli.records.lookup import said
from rankcli.shapes import TokenSequence
from rankcli.storage.base import Storage
from rankcli.storage.sealed import sealed, unsealed
from rankcli.versions import versions

SCHEMA_VERSION = 1
NAME = "manifest.json"
SHARD = re.compile(r"shard-[0-9]{6}-[0-9a-f]{8}\.vectors")
KEY_BYTES = 16
DTYPES: Mapping[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}
FIX = "`rankcli cache verify --repair` takes it out; the next run makes its vectors again"

Keys = npt.NDArray[np.bytes_]  # of KEY_BYTES each


def keys_of(sequences: Sequence[TokenSequence]) -> Keys:
    """The keys of sequences: hashes of all that an encoder reads of them. Equal texts have equal keys."""
    return np.array([_key(each) for each in sequences], f"S{KEY_BYTES}")


def _key(sequence: TokenSequence) -> bytes:
    parts = (np.asarray(part, "<i4").tobytes() for part in (sequence.ids, sequence.segments, sequence.parts))
    return hashlib.blake2b(b"".join(parts), digest_size=KEY_BYTES).digest()


@dataclass(frozen=True, kw_only=True)
class VectorShard:
    """One file of a set: its texts, its size in bytes and the CRC32C of all of it."""

    name: str
    texts: int
    bytes: int
    crc32c: int


@dataclass(frozen=True, kw_only=True)
class VectorManifest:
    """The content of a set. `identity` is what its vectors are made of, readable; `set_id` is the hash of it."""

    identity: Mapping[str, Any]
    width: int = 0
    shards: tuple[VectorShard, ...] = ()
    versions: Mapping[str, str] = dataclasses.field(default_factory=lambda: versions("numpy", "tensorflow"))

    @cached_property
    def set_id(self) -> str:
        """Its name in storage."""
        return digest(self.identity)

    @property
    def location(self) -> str:
        """The folder of its files in storage."""
        return location(self.set_id)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type in which numbers are kept."""
        return DTYPES[self.identity["dtype"]]

    @property
    def texts(self) -> int:
        """The number of vectors."""
        return sum(shard.texts for shard in self.shards)

    @property
    def total_bytes(self) -> int:
        """The size of all shards."""
        return sum(shard.bytes for shard in self.shards)

    def dump(self) -> bytes:
        """The content of the file: JSON with a checksum of itself."""
        return sealed({"schema_version": SCHEMA_VERSION, "set_id": self.set_id, **dataclasses.asdict(self)})

    @classmethod
    def parse(cls, data: bytes, where: str) -> VectorManifest:
        """The manifest in `data`; DamageError at `where` if it is damaged, StorageError if of another version."""
        try:
            content = unsealed(data)
            version, set_id = content.pop("schema_version"), content.pop("set_id")
            if version != SCHEMA_VERSION:
                raise StorageError(f"it is of another version ({version})", where=where, fix="use that of its writer")
            shards = tuple(VectorShard(**shard) for shard in content.pop("shards"))
            manifest = cls(**content, shards=shards)
            if manifest.set_id != set_id or any(shard.bytes != manifest.size_of(shard.texts) for shard in shards):
                raise ValueError("its counts or names do not fit together")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamageError(f"unusable manifest: {error}", where=where, fix=FIX) from error
        return manifest

    def size_of(self, texts: int) -> int:
        """The bytes of a shard of so many texts."""
        return texts * (KEY_BYTES + self.width * self.dtype.itemsize)


def location(set_id: str) -> str:
    """The folder of a set in storage."""
    return f"{set_id}/1"


def load(storage: Storage, set_id: str) -> VectorManifest | None:
    """The manifest of a set; None if there is none. DamageError if it is damaged."""
    name = f"{location(set_id)}/{NAME}"
    if storage.size(name) is None:
        return None
    return parsed(storage.read_bytes(name), storage, set_id)


def parsed(data: bytes, storage: Storage, set_id: str) -> VectorManifest:
    """The manifest of a set in `data`; DamageError if it is damaged or of another set."""
    where = f"{storage.uri}/{location(set_id)}/{NAME}"
    manifest = VectorManifest.parse(data, where)
    if manifest.set_id != set_id:
        raise DamageError(f"the manifest is of set {manifest.set_id}", where=where, fix=FIX)
    return manifest


def why_missed(storage: Storage, identity: Mapping[str, Any]) -> str:
    """Describe in one line the set most similar to `identity` and its differences; empty if there is no set."""
    found = []
    for set_id in storage.list():
        try:
            manifest = load(storage, set_id)
        except (StorageError, ValueError):  # it is only described here
            continue
        if manifest is not None and manifest.set_id != digest(identity):
            differing = differences(manifest.identity, dict(identity))
            found.append((len(differing), f"the vectors of {set_id} differ in {said(differing)}"))
    return min(found)[1] if found else ""
