"""The manifest of a cache: its identity, and size and checksum of each shard.

A cache is at `CACHE_ID/GENERATION` in storage: its shards and, written last, `manifest.json`. Without a manifest it is
not a cache. Shards never change; extending a cache adds shards, and then replaces the manifest by a longer one.
Converting anew makes the next generation.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rankcli.records.codec import TOKEN_DTYPES, Codec, Stream
from rankcli.records.damage import damaged
from rankcli.records.stripes import STRIPES, Range, positions
from rankcli.records.texts import LEVELS
from rankcli.storage.sealed import sealed, unsealed
from rankcli.versions import versions

SCHEMA_VERSION = 3
NAME = "manifest.json"
PARTS = "parts"  # of an unfinished conversion: receipts, one file per finished shard


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of a cache: the range of its samples, its size in bytes and the CRC32C of all of it.

    `documents` counts the documents of its samples, each as often as it occurs; `tokens_total` counts their tokens
    before the extractor cut them off, `tokens_kept` after that.
    """

    stripe: int
    first: int
    end: int
    bytes: int
    crc32c: int
    documents: int
    tokens_total: int
    tokens_kept: int

    @property
    def range(self) -> Range:
        """The range of its samples."""
        return Range(self.stripe, self.first, self.end)

    @property
    def name(self) -> str:
        """Its file name."""
        return self.range.name


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of a cache.

    `identity` describes its inputs, nested and readable, and `cache_id` is the hash of it. `streams` and `columns` are
    those of every record. Not part of the file: `location`, its place in storage, and `receipts`, true if receipts of a
    conversion were found next to it.
    """

    cache_id: str
    identity: Mapping[str, Any]
    streams: Mapping[str, Stream]
    columns: tuple[str, ...]
    samples: int
    samples_per_shard: int
    shards: tuple[Shard, ...]
    versions: Mapping[str, str] = dataclasses.field(default_factory=lambda: versions("numpy", "protobuf"))
    location: str = ""
    receipts: bool = dataclasses.field(default=False, compare=False)

    @functools.cached_property
    def codec(self) -> Codec:
        """The reader of its records."""
        return Codec(self.streams, self.columns)

    @property
    def total_bytes(self) -> int:
        """The size of all shards."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def documents(self) -> int:
        """The documents of all samples, each as often as it occurs."""
        return sum(shard.documents for shard in self.shards)

    @property
    def tokens_total(self) -> int:
        """The tokens of these documents before they were cut off."""
        return sum(shard.tokens_total for shard in self.shards)

    @property
    def tokens_kept(self) -> int:
        """The tokens of these documents that are stored."""
        return sum(shard.tokens_kept for shard in self.shards)

    @property
    def share_cut(self) -> float:
        """The share of document tokens that were cut off."""
        return 1 - self.tokens_kept / self.tokens_total if self.tokens_total else 0.0

    def dump(self) -> bytes:
        """The content of the file: JSON with a checksum of itself."""
        content = {"schema_version": SCHEMA_VERSION, "stripes": STRIPES, **dataclasses.asdict(self)}
        del content["location"], content["receipts"]
        content["streams"] = {name: stream._asdict() for name, stream in self.streams.items()}
        content["shards"] = [
            {"name": shard.name, **entry} for shard, entry in zip(self.shards, content["shards"], strict=True)
        ]
        return sealed(content)

    @classmethod
    def parse(cls, data: bytes, where: str, location: str) -> Manifest:
        """The manifest in `data`; StorageError at `where` if it is damaged or of another version."""
        try:
            content = unsealed(data)
            if (content.pop("schema_version"), content.pop("stripes")) != (SCHEMA_VERSION, STRIPES):
                raise ValueError("it is of another version")
            shards, columns = content.pop("shards"), tuple(content.pop("columns"))
            streams = {name: Stream(**stream) for name, stream in content.pop("streams").items()}
            names = [shard.pop("name") for shard in shards]
            manifest = cls(
                **content,
                streams=streams,
                columns=columns,
                shards=tuple(Shard(**shard) for shard in shards),
                location=location,
            )
            if names != [shard.name for shard in manifest.shards] or not manifest._consistent():
                raise ValueError("its counts or names do not fit together")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise damaged(f"unusable manifest: {error}", where) from error
        return manifest

    def _consistent(self) -> bool:
        """True if the shards of every stripe follow each other and have all of its samples, and values are legal."""
        ends = [0] * STRIPES
        for shard in self.shards:
            if not 0 <= shard.stripe < STRIPES or shard.first != ends[shard.stripe] or shard.end <= shard.first:
                return False
            ends[shard.stripe] = shard.end
        full = ends == [positions(self.samples, stripe) for stripe in range(STRIPES)]
        known = all(level in LEVELS and dtype in TOKEN_DTYPES for level, dtype in self.streams.values())
        return full and self.samples_per_shard > 0 and known


def location(cache_id: str, generation: int) -> str:
    """The name of a cache in storage."""
    return f"{cache_id}/{generation}"
