"""The job of a conversion and its three steps: number the samples, tokenise the texts, write the shards."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankcli import log
from rankcli.errors import DataError
from rankcli.extractors.base import Extractor
from rankcli.records.codec import Codec
from rankcli.records.manifest import Shard
from rankcli.records.numbering import Numbering, has_wanted, is_numbered, remove_wanted, write_numbers, write_wanted
from rankcli.records.stripes import Range
from rankcli.records.texts import FEATURES, Features, Texts
from rankcli.records.tokens import Tools, count_texts, tokenise
from rankcli.records.workers import workers
from rankcli.shapes import Sample
from rankcli.storage.base import Storage
from rankcli.storage.disk import guard
from rankcli.storage.locks import exclusive

TEXTS_PER_PROCESS = 4096  # with fewer texts, and fewer samples, a process takes longer to start than it saves
SAMPLES_PER_PROCESS = 50_000
LOCK = "lock"

ProgressOf = Callable[[int, str, str], log.Progress]


@dataclass(frozen=True, kw_only=True)
class ConversionJob:
    """A conversion of `samples` samples of `sampler`, each of at most `group_size` documents, to a cache in `storage`.

    `cache_id` is the hash of `identity`, which is stored in the manifest for people to read; `source` is stored next to
    it, so that the cache can be made again from it. `work` is the local folder for unfinished work. Sampler, extractor
    and texts are sent to the conversion processes, so they can be pickled. `columns` are those that the sampler gives
    and some component reads; `features`, if the source has them, become a column of their own. A `fresh` job uses no
    existing cache.
    """

    cache_id: str
    identity: Mapping[str, Any]
    sampler: Callable[[int], Sample]
    samples: int
    group_size: int
    extractor: Extractor
    queries: Texts
    docs: Texts
    storage: Storage
    work: Path
    columns: tuple[str, ...] = ()
    features: Features | None = None
    samples_per_shard: int = 0  # 0: chosen by `SHARD_BYTES`
    source: str = ""
    fresh: bool = False

    @functools.cached_property
    def codec(self) -> Codec:
        """The writer of its records."""
        return Codec.of(self.extractor.streams, (*self.columns, *((FEATURES,) if self.features else ())))


@contextmanager
def working(tools: Tools) -> Iterator[None]:
    """Have the work folder alone. It is removed when the work is done or fails by a DataError; else it stays."""
    with exclusive(tools.work / LOCK):
        try:
            yield
        except DataError:
            _remove(tools.work)
            raise
        _remove(tools.work)


def _remove(work: Path) -> None:
    """Remove a work folder, as far as no other process begins to use it at the same moment."""
    shutil.rmtree(work, ignore_errors=True)


def run_steps(
    job: ConversionJob,
    tools: Tools,
    shards: Sequence[Range],
    function: Callable[[Tools, Range], Shard],
    processes: int,
    progress: ProgressOf,
) -> Iterator[Shard]:
    """Number the samples of all shards, tokenise their texts, and yield the result of `function` for each shard."""
    samples = sum(len(shard.samples) for shard in shards)
    _number(job, tools, shards, min(processes, max(samples // SAMPLES_PER_PROCESS, 1)), progress)
    texts = count_texts(tools)
    count = min(processes, max(texts // TEXTS_PER_PROCESS, samples // SAMPLES_PER_PROCESS, 1))
    with workers(tools, count) as pool:
        with progress(texts, "tokenising", "texts") as bar:
            tokenise(tools, pool, bar)
        with progress(samples, "converting", "samples") as bar:
            for shard in pool.map(function, shards):
                bar.advance(len(shard.range.samples))
                yield shard


def _number(job: ConversionJob, tools: Tools, shards: Sequence[Range], processes: int, progress: ProgressOf) -> None:
    """Number the samples of all shards, unless that is done. Texts of another numbering are removed."""
    done = {shard for shard in shards if is_numbered(tools.numbers, shard, bool(job.columns))}
    if len(done) == len(shards) and has_wanted(tools.numbers):
        return
    for folder in (tools.texts, tools.parts):
        shutil.rmtree(folder, ignore_errors=True)
    with guard(tools.numbers):
        tools.numbers.mkdir(exist_ok=True)
        remove_wanted(tools.numbers)
    todo = [shard for shard in shards if shard not in done]
    numbering = Numbering(tools.numbers, job.sampler, job.queries, job.docs, tuple(sorted(job.columns)))
    with (
        progress(sum(len(shard.samples) for shard in todo), "sampling", "samples") as bar,
        workers(numbering, processes) as pool,
    ):
        for samples in pool.map(write_numbers, todo):
            bar.advance(samples)
    write_wanted(tools.numbers, shards)
