"""The examples of a cache in order, read from its stripes in turn.

Shards are opened ahead of their use in threads: fetched from remote storage, and compared with the manifest. A damaged
shard is made again, if the reader can do that, or is an error, before any of its samples is used.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from rankcli.errors import DamageError
from rankcli.log import warn
from rankcli.records.damage import damaged
from rankcli.records.manifest import Manifest, Shard
from rankcli.records.stripes import STRIPES, positions
from rankcli.records.tfrecord import OpenShard, open_shard
from rankcli.shapes import Example
from rankcli.storage.base import Storage

THREADS = 4  # to fetch and verify
AHEAD = 2 * STRIPES  # shards: the open one and the next one of each stripe


@dataclass(frozen=True)
class Records:
    """A TFRecord cache: its manifest, its storage, and the function that makes a damaged shard again, if any."""

    manifest: Manifest
    storage: Storage
    rebuild: Callable[[Shard], None] | None = None


class Stride(NamedTuple):
    """The samples from `first` to `end` - 1 of every `of` samples; by default all."""

    first: int = 0
    end: int = 1
    of: int = 1

    def holds(self, sample: int) -> bool:
        """True if a sample is in the part."""
        return self.first <= sample % self.of < self.end


ALL = Stride()


def read_examples(records: Records, start: int = 0, stop: int | None = None, part: Stride = ALL) -> Iterator[Example]:
    """The examples of samples `start`..`stop` - 1 (None: to the end) that are in `part`.

    The others are not decoded, and a shard with only others is not opened: if `part.of` is 2, 4 or 8, whole stripes are
    skipped. StorageError names a shard that has changed.
    """
    stop = records.manifest.samples if stop is None else stop
    if not 0 <= start <= stop <= records.manifest.samples:
        raise ValueError(f"samples {start}..{stop} asked of a cache of {records.manifest.samples}")
    streams: list[Iterator[Example]] = [iter(())] * STRIPES
    with closing(_opened(records, start, stop, part)) as shards:
        for n in filter(part.holds, range(start, stop)):
            example = next(streams[n % STRIPES], None)
            if example is None:  # shards are opened in the order in which they are needed
                streams[n % STRIPES] = next(shards)
                example = next(streams[n % STRIPES])
            yield example


def open_verified(records: Records, shard: Shard) -> OpenShard:
    """Open a shard and compare it with the manifest; a damaged one is made again if possible, else StorageError.

    One that cannot be read may be whole, so it is an error and stays.
    """
    name = f"{records.manifest.location}/{shard.name}"
    try:
        return _verified(records.storage, name, shard)
    except DamageError as error:
        if records.rebuild is None:
            raise
        warn(f"{error.where}: {error.what}; it is made again")
        records.rebuild(shard)
        return _verified(records.storage, name, shard)


def _verified(storage: Storage, name: str, shard: Shard) -> OpenShard:
    opened = open_shard(storage.fetch(name), f"{storage.uri}/{name}")
    if (opened.size, opened.crc32c) == (shard.bytes, shard.crc32c):
        return opened
    opened.close()
    found = "another checksum" if opened.size == shard.bytes else f"{opened.size} bytes instead of {shard.bytes}"
    raise damaged(f"damaged cache: the shard has {found}", opened.where)


def _opened(records: Records, start: int, stop: int, part: Stride) -> Generator[Iterator[Example], None, None]:
    """The wanted examples of each shard that has any; shards in the order of their first wanted sample."""
    wanted = []
    for shard in records.manifest.shards:
        begin = max(positions(start, shard.stripe), shard.first)
        end = min(positions(stop, shard.stripe), shard.end)
        samples = range(begin * STRIPES + shard.stripe, end * STRIPES + shard.stripe, STRIPES)
        first = next(filter(part.holds, samples), None)
        if first is not None:
            wanted.append((first, begin - shard.first, samples, shard))
    wanted.sort(key=lambda entry: entry[0])
    pool = ThreadPoolExecutor(THREADS)
    ahead: deque[Future[OpenShard]] = deque()
    try:
        queue = iter(wanted)
        for _, begin, samples, _ in wanted:
            for *_, shard in itertools.islice(queue, AHEAD - len(ahead)):
                ahead.append(pool.submit(open_verified, records, shard))
            yield _examples(records, ahead.popleft().result(), begin, [part.holds(sample) for sample in samples])
    finally:
        pool.shutdown(cancel_futures=True)
        for future in ahead:
            if not future.cancelled() and future.exception() is None:
                future.result().close()


def _examples(records: Records, shard: OpenShard, begin: int, wanted: Sequence[bool]) -> Iterator[Example]:
    """Decode the wanted records from `begin` on; StorageError if the shard has fewer records."""
    number, end = begin, begin + len(wanted)
    with closing(shard):
        for data, decoded in zip(itertools.islice(shard.read(begin), len(wanted)), wanted, strict=False):
            if decoded:
                yield records.manifest.codec.decode(data, f"{shard.where}:{number}")
            number += 1
    if number < end:  # the next shard's samples must not take the place of these
        raise damaged(f"damaged cache: the shard has fewer than {end} records", shard.where)
