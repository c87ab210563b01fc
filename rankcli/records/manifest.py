"""The manifest of a cache: what it was made of, and what each shard must be.

A cache lies at `CACHE_ID/GENERATION` in storage: its shards and, written last, `manifest.json`. Without that it is not
a cache. Shards never change; a cache that is extended gets more of them, and then a longer manifest. Converting anew
makes the next generation.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import platform
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import google.protobuf
import google_crc32c
import numpy as np

import rankcli
from rankcli import log
from rankcli.errors import StorageError
from rankcli.records.codec import TOKEN_DTYPES, Codec, Stream
from rankcli.records.damage import damaged
from rankcli.records.stripes import STRIPES, Range, positions
from rankcli.records.texts import LEVELS
from rankcli.storage.base import Storage

SCHEMA_VERSION = 3
NAME = "manifest.json"
Complete = Callable[[Mapping[str, Any]], Mapping[str, Any]]
PARTS = "parts"  # of a conversion that goes on: receipts, a file per shard that is written
_AT_ONCE = 8  # manifests that are read
_GENERATION = re.compile(r"[1-9][0-9]{0,8}")
_MANIFEST = re.compile(rf"[^/]+/({_GENERATION.pattern})/{re.escape(NAME)}")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of a cache: which samples it holds, its size in bytes and the CRC32C of all of it.

    `documents` counts the documents of its samples, each as often as it occurs, `tokens_total` their tokens before they
    were cut to what is read of them, `tokens_kept` those after.
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
        """Which samples it holds."""
        return Range(self.stripe, self.first, self.end)

    @property
    def name(self) -> str:
        """Its file name."""
        return self.range.name


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a cache holds.

    `identity` is what it was made of, nested and readable, and `cache_id` the hash of that. `streams` and `columns` say
    what a record holds. Not part of the file:
    `location`, where it was found in storage, and whether `receipts` of a conversion lay beside it.
    """

    cache_id: str
    identity: Mapping[str, Any]
    streams: Mapping[str, Stream]
    columns: tuple[str, ...]
    samples: int
    samples_per_shard: int
    shards: tuple[Shard, ...]
    versions: Mapping[str, str] = dataclasses.field(default_factory=lambda: versions())
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
        """The tokens of those documents."""
        return sum(shard.tokens_total for shard in self.shards)

    @property
    def tokens_kept(self) -> int:
        """The tokens that are stored of them."""
        return sum(shard.tokens_kept for shard in self.shards)

    @property
    def share_cut(self) -> float:
        """The share of document tokens that is not read."""
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
        """Whether the shards of every stripe follow each other and hold all of its samples."""
        ends = [0] * STRIPES
        for shard in self.shards:
            if not 0 <= shard.stripe < STRIPES or shard.first != ends[shard.stripe] or shard.end <= shard.first:
                return False
            ends[shard.stripe] = shard.end
        full = ends == [positions(self.samples, stripe) for stripe in range(STRIPES)]
        known = all(level in LEVELS and dtype in TOKEN_DTYPES for level, dtype in self.streams.values())
        return full and self.samples_per_shard > 0 and known


def versions() -> dict[str, str]:
    """What made a cache; for people to read, never compared."""
    return {
        "rankcli": rankcli.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "protobuf": google.protobuf.__version__,
    }


def location(cache_id: str, generation: int) -> str:
    """The name of a cache in storage."""
    return f"{cache_id}/{generation}"


def generations(storage: Storage, cache_id: str) -> list[int]:
    """The generations of a cache that were begun, the newest first."""
    return sorted((int(entry) for entry in storage.list(cache_id) if _GENERATION.fullmatch(entry)), reverse=True)


def load(storage: Storage, location: str) -> Manifest:
    """The manifest of the cache at `location`; StorageError where there is none, or a damaged one."""
    name = f"{location}/{NAME}"
    return Manifest.parse(storage.read_bytes(name), f"{storage.uri}/{name}", location)


def published(storage: Storage, cache_id: str) -> Iterator[Manifest]:
    """The caches of an id, the newest first; a damaged manifest is passed over, and said."""
    yield from _readable(storage, cache_id, [f"{cache_id}/{name}" for name in storage.below(cache_id)])


def find(storage: Storage, cache_id: str, samples: int) -> Manifest | None:
    """The newest cache of `cache_id` with at least `samples` samples; None if there is none.

    Since sample n is a pure function, the first m samples of a cache are what a cache of m samples holds.
    """
    return next((found for found in published(storage, cache_id) if found.samples >= samples), None)


def explain_miss(storage: Storage, identity: Mapping[str, Any], complete: Complete = dict) -> str:
    """The cache most like `identity` and how it differs, as one line; empty when there is no cache at all.

    Identities leave out options that have their default; `complete` writes them out.
    """

    def difference(cache: tuple[str, list[str]]) -> tuple[int, str] | None:
        manifest = next(_readable(storage, *cache), None)
        if manifest is None:
            return None
        differing = list(_differences(complete(manifest.identity), complete(identity)))
        said = "; ".join(differing) or "nothing but its number of samples"
        return len(differing), f"cache {manifest.cache_id} differs in {said}"

    caches: dict[str, list[str]] = {}
    for name in storage.below():
        caches.setdefault(name.partition("/")[0], []).append(name)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = [each for each in pool.map(difference, caches.items()) if each is not None]
    return min(found)[1] if found else ""


def _readable(storage: Storage, cache_id: str, names: Collection[str]) -> Iterator[Manifest]:
    """The caches of an id, of which there are the files `names`, as `published` gives them."""
    found = sorted((int(match[1]) for name in names if (match := _MANIFEST.fullmatch(name))), reverse=True)
    for place in (location(cache_id, generation) for generation in found):
        try:
            manifest = load(storage, place)
        except StorageError as error:
            log.warn(f"{error.where}: passed over: {error.what}")
            continue
        if manifest.cache_id == cache_id:
            receipts = any(name.startswith(f"{place}/{PARTS}/") for name in names)
            yield dataclasses.replace(manifest, receipts=receipts)


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Per key that differs: its value there and the one wanted."""
    there, here = _flat(found), _flat(wanted)
    for key in sorted(there.keys() | here.keys()):
        if there.get(key) != here.get(key):
            yield f"{key} ({_short(there.get(key))}, wanted {_short(here.get(key))})"


def _short(value: Any) -> str:
    """A value as it is said: the start of a hash tells as much as all of it."""
    said = "nothing" if value is None else str(value)
    return said if len(said) <= 24 else f"{said[:8]}..."


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    return {
        key: value
        for name, branch in tree.items()
        for key, value in _flat(branch, f"{prefix}.{name}" if prefix else name).items()
    }


def sealed(content: Mapping[str, Any]) -> bytes:
    """JSON with a checksum of itself; the same bytes for the same content."""
    return _json({**content, "checksum": _checksum(content)}) + b"\n"


def unsealed(data: bytes) -> dict[str, Any]:
    """The content of what `sealed` made; ValueError or KeyError if it is not that any more."""
    content: dict[str, Any] = json.loads(data)
    if content.pop("checksum") != _checksum(content):
        raise ValueError("its checksum does not match")
    return content


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def _checksum(content: Mapping[str, Any]) -> str:
    return f"{google_crc32c.value(_json(content)):08x}"
