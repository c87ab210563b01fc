"""The manifest of a cache: what it was made of, and what each shard must be.

A cache lies at `CACHE_ID/SAMPLES` in storage (`CACHE_ID/SAMPLES-2`, ... when converted anew): its shards and, written
last, `manifest.json`. Without that it is not a cache.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import google.protobuf
import google_crc32c
import numpy as np

import rankcli
from rankcli import log
from rankcli.errors import StorageError
from rankcli.records.codec import TOKEN_DTYPES
from rankcli.storage.base import Storage

SCHEMA_VERSION = 1
NAME = "manifest.json"
_FOLDER = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of a cache: its name, its samples, its size in bytes, the CRC32C of all of it."""

    name: str
    samples: int
    bytes: int
    crc32c: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a cache holds.

    `identity` is what it was made of, nested and readable, and `cache_id` the hash of that. `documents` counts the
    documents of all samples, each as often as it occurs, `tokens_total` their tokens before they were cut to what is
    read of them, `tokens_kept` those after. `location` is where it was found in storage, and not part of the file.
    """

    cache_id: str
    identity: Mapping[str, Any]
    token_dtype: str
    samples: int
    samples_per_shard: int
    shards: tuple[Shard, ...]
    documents: int
    tokens_total: int
    tokens_kept: int
    versions: Mapping[str, str] = dataclasses.field(default_factory=lambda: versions())
    location: str = ""

    @property
    def total_bytes(self) -> int:
        """The size of all shards."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def share_cut(self) -> float:
        """The share of document tokens that is not read."""
        return 1 - self.tokens_kept / self.tokens_total if self.tokens_total else 0.0

    def dump(self) -> bytes:
        """The content of the file: JSON with a checksum of itself."""
        content = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}
        del content["location"]
        return _json({**content, "checksum": _checksum(content)}) + b"\n"

    @classmethod
    def parse(cls, data: bytes, location: str) -> Manifest:
        """The manifest in `data`; StorageError if it is damaged or of another version."""
        try:
            content = json.loads(data)
            if content["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"it has schema version {content['schema_version']}, not {SCHEMA_VERSION}")
            if content.pop("checksum") != _checksum(content):
                raise ValueError("its checksum does not match")
            del content["schema_version"]
            shards = tuple(Shard(**shard) for shard in content.pop("shards"))
            manifest = cls(**content, shards=shards, location=location)
            if not manifest._consistent():
                raise ValueError("its counts or names do not fit together")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _unusable(location, str(error)) from error
        return manifest

    def _consistent(self) -> bool:
        counted = sum(shard.samples for shard in self.shards) == self.samples
        full = all(shard.samples == self.samples_per_shard for shard in self.shards[:-1])
        named = all(shard.name == shard_name(number) for number, shard in enumerate(self.shards))
        return counted and full and named and self.token_dtype in TOKEN_DTYPES


def shard_name(number: int) -> str:
    """The file name of a shard, counted from 0."""
    return f"shard-{number:05d}.tfrecord"


def versions() -> dict[str, str]:
    """What made a cache; for people to read, never compared."""
    return {
        "rankcli": rankcli.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "protobuf": google.protobuf.__version__,
    }


def load(storage: Storage, location: str) -> Manifest | None:
    """The manifest of the cache at `location`; None where there is none, StorageError where it is damaged."""
    name = f"{location}/{NAME}"
    if storage.size(name) is None:
        return None
    return Manifest.parse(storage.read_bytes(name), location)


def load_or_warn(storage: Storage, place: str) -> Manifest | None:
    """As `load`, but a damaged manifest is passed over, and said."""
    try:
        return load(storage, place)
    except StorageError as error:
        log.warn(f"{error.where}: passed over: {error.what}")
        return None


def find(storage: Storage, cache_id: str, samples: int) -> Manifest | None:
    """The smallest cache of `cache_id` with at least `samples` samples, of equal ones the last; None if there is none.

    Since sample n is a pure function, the first m samples of a cache are what a cache of m samples holds. A damaged
    manifest is passed over, and said.
    """
    serving = [folder for folder in _folders(storage, cache_id) if folder[0] >= samples]
    for count, generation in sorted(serving, key=lambda folder: (folder[0], -folder[1])):
        manifest = load_or_warn(storage, location(cache_id, count, generation))
        if manifest is not None and manifest.cache_id == cache_id and manifest.samples == count:
            return manifest
    return None


def location(cache_id: str, samples: int, generation: int = 1) -> str:
    """The name of a cache in storage."""
    return f"{cache_id}/{samples}" + (f"-{generation}" if generation > 1 else "")


def explain_miss(storage: Storage, identity: Mapping[str, Any]) -> str:
    """The cache most like `identity` and the keys in which it differs, as one line; empty when there is no cache."""
    wanted, nearest = _flat(identity), ""
    fewest = None
    for cache_id in storage.list():
        folders = _folders(storage, cache_id)
        manifest = load_or_warn(storage, location(cache_id, *max(folders))) if folders else None
        if manifest is None:
            continue
        other = _flat(manifest.identity)
        differing = sorted(key for key in wanted.keys() | other.keys() if wanted.get(key) != other.get(key))
        if fewest is None or len(differing) < fewest:
            fewest, nearest = (
                len(differing),
                f"nearest cache: {manifest.location} differs in {', '.join(differing) or 'nothing'}",
            )
    return nearest


def _folders(storage: Storage, cache_id: str) -> list[tuple[int, int]]:
    matches = (_FOLDER.fullmatch(entry) for entry in storage.list(cache_id))
    return [(int(match[1]), int(match[2] or 1)) for match in matches if match]


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    return {
        key: value
        for name, branch in tree.items()
        for key, value in _flat(branch, f"{prefix}.{name}" if prefix else name).items()
    }


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def _checksum(content: Mapping[str, Any]) -> str:
    return f"{google_crc32c.value(_json(content)):08x}"


def _unusable(place: str, why: str) -> StorageError:
    return StorageError(
        f"unusable manifest: {why}", where=f"{place}/{NAME}", fix="delete the cache; the next run converts anew"
    )
