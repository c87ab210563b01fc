"""A set of kept vectors that is open: looked up by what an encoder reads, and extended by what is missing."""

from __future__ import annotations

import dataclasses
import hashlib
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import google_crc32c
import numpy as np

from rankcli.config.identity import digest
from rankcli.errors import DamageError, StorageError
from rankcli.log import warn
from rankcli.records.vector_sets import KEY_BYTES, NAME, Keys, VectorManifest, VectorShard, keys_of, location, parsed
from rankcli.shapes import Floats, Ints, TokenSequence
from rankcli.storage.base import Storage
from rankcli.storage.disk import guard, measured
from rankcli.storage.places import work_root
from rankcli.storage.scratch import scratch

SHARD_BYTES = 8_000_000  # object storage takes such a file in one checked request
AT_ONCE = 20_000  # texts that are sorted by length and encoded together
IN_MEMORY = 1 << 30  # bytes that `auto` reads into memory

Encode = Callable[[list[TokenSequence]], Iterable[tuple[Sequence[int], Floats]]]


class _Opened(NamedTuple):
    """A shard in memory, or mapped."""

    keys: Keys
    vectors: np.ndarray


class VectorCache:
    """The vectors of one set. `store` is `memory`, `disk` (files are mapped), or `auto`, which decides by their size.

    The index has 24 bytes for a text. `encoded` counts the texts that were encoded here.
    """

    def __init__(self, storage: Storage, identity: Mapping[str, Any], store: str = "auto") -> None:
        self.storage, self.identity, self.set_id = storage, dict(identity), digest(identity)
        self.location = location(self.set_id)
        self.store, self.encoded = store, 0
        self._written: bytes | None = None  # the manifest as it is in storage
        self.manifest = VectorManifest(identity=self.identity)
        self._opened: dict[str, _Opened] = {}
        self._damaged: set[str] = set()
        self._keys: Keys = np.zeros(0, f"S{KEY_BYTES}")
        self._rows = np.zeros(0, np.int64)  # of the sorted keys
        self._starts = np.zeros(1, np.int64)  # the first row of each shard, and the end
        self.refresh()

    def __len__(self) -> int:
        return len(self._keys)

    def refresh(self) -> None:
        """Open the shards that are new in storage. Damaged ones are left out, which is said."""
        self.manifest = self._manifest() or VectorManifest(identity=self.identity)
        for shard in self.manifest.shards:
            if shard.name not in self._opened and shard.name not in self._damaged:
                try:
                    self._opened[shard.name] = self._open(shard)
                except DamageError as error:
                    self._damaged.add(shard.name)
                    warn(f"{error.where}: {error.what}; its {shard.texts:,} vectors are made again")
        listed = [shard.name for shard in self.manifest.shards]
        self._opened = {name: self._opened[name] for name in listed if name in self._opened}
        keys = [each.keys for each in self._opened.values()]
        self._starts = np.cumsum([0, *map(len, keys)])
        joined = np.concatenate(keys) if keys else np.zeros(0, f"S{KEY_BYTES}")
        self._rows = np.argsort(joined, kind="stable")
        self._keys = joined[self._rows]

    def _manifest(self) -> VectorManifest | None:
        name = f"{self.location}/{NAME}"
        self._written = self.storage.read_bytes(name) if self.storage.size(name) is not None else None
        try:
            return None if self._written is None else parsed(self._written, self.storage, self.set_id)
        except DamageError as error:
            warn(f"{error.where}: {error.what}; the vectors are made again")
            return None

    def _open(self, shard: VectorShard) -> _Opened:
        """Compare a shard with its checksum, and map it or read it."""
        name, width, dtype = f"{self.location}/{shard.name}", self.manifest.width, self.manifest.dtype
        path = self.storage.fetch(name)
        with guard(path), path.open("rb") as file:
            if measured(file) != (shard.bytes, shard.crc32c):
                raise DamageError("the file is not what was written", where=f"{self.storage.uri}/{name}")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        content = bytes(mapped) if self.in_memory else mapped
        keys = np.frombuffer(content, f"S{KEY_BYTES}", shard.texts)
        vectors = np.frombuffer(content, dtype, offset=keys.nbytes).reshape(shard.texts, width)
        return _Opened(keys.copy(), vectors)

    @property
    def in_memory(self) -> bool:
        """True if vectors are read into memory."""
        return self.store == "memory" or (self.store == "auto" and self.manifest.total_bytes <= IN_MEMORY)

    def known(self, keys: Keys) -> np.ndarray:
        """Tell for each key if its vector is kept."""
        places = np.searchsorted(self._keys, keys)
        found = np.zeros(len(keys), np.bool_)
        inside = places < len(self._keys)
        found[inside] = self._keys[places[inside]] == keys[inside]
        return found

    def get(self, sequences: Sequence[TokenSequence]) -> Floats:
        """Return the vectors of sequences, float32 [N, width]; StorageError if one is missing."""
        keys = keys_of(sequences)
        if missing := int((~self.known(keys)).sum()):
            where = f"{self.storage.uri}/{self.location}"
            raise StorageError(f"the vectors of {missing} texts are not kept", where=where, fix="run again")
        return self._at(self._rows[np.searchsorted(self._keys, keys)])

    def _at(self, rows: Ints) -> Floats:
        found = np.empty((len(rows), self.manifest.width), np.float32)
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        opened = list(self._opened.values())
        for number in np.unique(shards):
            here = shards == number
            found[here] = opened[number].vectors[rows[here] - self._starts[number]]
        return found

    def fill(
        self,
        windows: Iterable[Sequence[TokenSequence]],
        encode: Encode,
        advance: Callable[[int], None] = lambda texts: None,
    ) -> None:
        """Encode and keep what is missing of the sequences in `windows`. Of several processes one does so at a time.

        `encode` yields the vectors of a list of sequences, with their numbers in it, in any order. `advance` is called
        with the numbers of texts that are done. After an interruption the same call goes on.
        """
        with ExitStack() as stack:
            for number, pending in enumerate(self._gathered(windows, advance)):
                if number == 0:
                    stack.enter_context(self.storage.lock(self.set_id))
                    pending = self._still_missing(pending, advance)
                self._encode(pending, encode, advance)

    def _gathered(
        self, windows: Iterable[Sequence[TokenSequence]], advance: Callable[[int], None]
    ) -> Iterator[dict[bytes, TokenSequence]]:
        """Yield the missing sequences of all windows, each once, about `AT_ONCE` at a time."""
        pending: dict[bytes, TokenSequence] = {}
        for window in windows:
            new = self._missing(window, pending)
            advance(len(window) - len(new))
            pending |= new
            if len(pending) >= AT_ONCE:
                yield pending
                pending = {}
        if pending:
            yield pending

    def _missing(
        self, window: Sequence[TokenSequence], pending: Mapping[bytes, TokenSequence]
    ) -> dict[bytes, TokenSequence]:
        keys = keys_of(window)
        missing = np.flatnonzero(~self.known(keys)).tolist()
        new = {bytes(keys[n]): window[n] for n in missing}
        return {key: sequence for key, sequence in new.items() if key not in pending}

    def _still_missing(
        self, pending: Mapping[bytes, TokenSequence], advance: Callable[[int], None]
    ) -> dict[bytes, TokenSequence]:
        """Leave out what another process has made before we had the lock, and files of one that was killed."""
        self.refresh()
        self._remove_strays()
        known = self.known(np.array(list(pending), f"S{KEY_BYTES}"))
        advance(int(known.sum()))
        return {key: sequence for (key, sequence), there in zip(pending.items(), known, strict=True) if not there}

    def repair(self) -> None:
        """Take out damaged shards: their vectors are made again when they are needed."""
        with self.storage.lock(self.set_id):
            self.refresh()
            self._remove_strays()

    def _remove_strays(self) -> None:
        """Remove damaged shards and files that no manifest lists, so that only whole ones are left."""
        damaged = [shard for shard in self.manifest.shards if shard.name not in self._opened]
        if damaged:
            self._publish([shard for shard in self.manifest.shards if shard.name in self._opened])
        listed = {shard.name for shard in self.manifest.shards}
        for name in self.storage.list(self.location):
            if name.startswith("shard-") and name not in listed:
                self.storage.delete(f"{self.location}/{name}")

    def _encode(self, pending: Mapping[bytes, TokenSequence], encode: Encode, advance: Callable[[int], None]) -> None:
        """Encode texts and keep them, shard by shard; after a signal, those that are encoded too."""
        keys, sequences = np.array(list(pending), f"S{KEY_BYTES}"), list(pending.values())
        made: list[tuple[Keys, Floats]] = []
        try:
            for numbers, vectors in encode(sequences) if sequences else ():
                made.append((keys[list(numbers)], vectors))
                if sum(part.nbytes for _, part in made) >= SHARD_BYTES:
                    whole, made = made, []
                    self._add(whole)
                advance(len(numbers))
        finally:
            if made:
                self._add(made)
            self.refresh()

    def _add(self, made: Sequence[tuple[Keys, Floats]]) -> None:
        """Put vectors into storage as one more shard."""
        keys, vectors = (np.concatenate(parts) for parts in zip(*made, strict=True))
        self.manifest = dataclasses.replace(self.manifest, width=vectors.shape[1])
        content = keys.tobytes() + _stored(vectors, self.manifest.dtype).tobytes()
        digested = hashlib.blake2b(content, digest_size=4).hexdigest()
        name = f"shard-{len(self.manifest.shards):06d}-{digested}.vectors"
        shard = VectorShard(name=name, texts=len(keys), bytes=len(content), crc32c=google_crc32c.value(content))
        with scratch(work_root(), "vectors") as folder:
            path = folder / name
            with guard(path, len(content)):
                path.write_bytes(content)
            self.storage.put(path, f"{self.location}/{name}", replace=True)
        self._publish([*self.manifest.shards, shard])
        self.encoded += len(keys)

    def _publish(self, shards: Sequence[VectorShard]) -> None:
        name = f"{self.location}/{NAME}"
        manifest = dataclasses.replace(self.manifest, shards=tuple(shards))
        if not self.storage.swap(name, self._written, manifest.dump()):
            raise StorageError("another process has changed it", where=f"{self.storage.uri}/{name}", fix="run again")
        self.manifest, self._written = manifest, manifest.dump()


def _stored(vectors: Floats, dtype: np.dtype[Any]) -> np.ndarray:
    """Vectors as they are kept; StorageError for numbers that the type cannot hold."""
    with np.errstate(over="ignore"):
        stored = vectors.astype(dtype)
    if not np.isfinite(stored).all():
        finite = np.isfinite(vectors).all()
        what = f"a vector has numbers beyond {np.finfo(dtype).max:g}" if finite else "a vector has NaN or infinity"
        fix = "keep them as float32" if finite else "check the encoder's weights"
        raise StorageError(f"{what}, which cannot be kept as {dtype.name}", fix=fix)
    return stored


@contextmanager
def opened(storage: Storage, identity: Mapping[str, Any], store: str = "auto") -> Iterator[VectorCache]:
    """The kept vectors of an identity, which nobody prunes until the block ends."""
    with storage.hold(location(digest(identity))):
        yield VectorCache(storage, identity, store)
