"""Conversion: samples are numbered, the texts that they need are tokenised once each, and the shards are written.

The result is the same to the byte for any number of processes and of interruptions: every file is a pure function of
its name. Shards are put into storage as they are finished, and the manifest makes a cache of them at the end. What is
in progress lies in a local work folder, which a conversion that starts again goes on with.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rankcli import log
from rankcli.config.identity import digest
from rankcli.errors import DataError, MissingError, StorageError
from rankcli.extractors.base import Extractor
from rankcli.records.codec import token_dtype
from rankcli.records.lookup import generations, published
from rankcli.records.manifest import NAME, Manifest, Shard, location
from rankcli.records.numbering import count_ids, holds, write_numbers
from rankcli.records.pages import Pages
from rankcli.records.shards import build_shard, is_complete, read_receipt, remove_receipts, write_shard
from rankcli.records.stripes import Range, ranges
from rankcli.records.tokens import Texts, Tools, tokenise
from rankcli.records.workers import workers
from rankcli.shapes import Sample
from rankcli.storage.base import Storage
from rankcli.storage.locks import exclusive, taken

TEXTS_PER_PROCESS = 4096  # with fewer texts, and fewer samples, a process takes longer to start than it saves
SAMPLES_PER_PROCESS = 50_000
SHARD_BYTES = 8_000_000  # at most, where a sample is no larger: what object storage takes in one checked request
SOURCE = "source.yaml"
LOCK = "lock"

ProgressOf = Callable[[int, str, str], log.Progress]


@dataclass(frozen=True, kw_only=True)
class ConversionJob:
    """What to convert (`samples` samples of `sampler`, each of at most `group_size` documents), from which texts, and
    where to.

    `identity` is what `cache_id` is the hash of, kept in the manifest for people to read; `source` is what the cache
    can be made again from, kept beside it. `work` is the local folder for work in progress. Extractor and documents go
    to the conversion processes, so they can be pickled. A `fresh` job never takes a cache that is there.
    """

    cache_id: str
    identity: Mapping[str, Any]
    sampler: Callable[[int], Sample]
    samples: int
    group_size: int
    extractor: Extractor
    queries: Mapping[str, str]
    docs: Texts
    storage: Storage
    work: Path
    samples_per_shard: int = 0  # 0: chosen by `SHARD_BYTES`
    source: str = ""
    fresh: bool = False


class Part(NamedTuple):
    """Every `of`-th of the shards that are missing, from the `number`-th on, counted from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


class _Target(NamedTuple):
    """Where a job's cache is to lie, what it extends, and the shards that it lacks."""

    location: str
    base: Manifest | None
    missing: list[Range]


def convert(job: ConversionJob, processes: int = 1, progress: ProgressOf = log.Progress) -> Manifest:
    """Make the cache of `job`, or find it, with up to `processes` processes; its manifest.

    Of several that convert the same at once one does the work; the others wait for it and take what it made.
    """
    with job.storage.lock(job.cache_id):
        target = _target(job)
        if target.base is not None and not target.missing:
            if target.base.receipts:
                remove_receipts(job.storage, target.base)  # of a conversion that was killed when it was done
            return target.base
        done = _write(job, target, target.missing, processes, progress)
        return _publish(job, target, done)


def convert_part(job: ConversionJob, part: Part, processes: int = 1, progress: ProgressOf = log.Progress) -> int:
    """Write the shards of `part` and their receipts; how many shards it has. `finalize` makes a cache of all parts."""
    target = _target(job)
    return len(_write(job, target, target.missing[part.number - 1 :: part.of], processes, progress))


def finalize(job: ConversionJob) -> Manifest:
    """Check the shards of all parts and publish the cache; MissingError naming a shard that is not there."""
    with job.storage.lock(job.cache_id):
        target = _target(job)
        if target.base is not None and not target.missing:
            if target.base.receipts:
                remove_receipts(job.storage, target.base)
            return target.base
        done = _finished(job, target, target.missing)
        missing = [shard.name for shard in target.missing if shard not in done]
        if missing:
            raise MissingError(
                f"{len(missing)} of {len(target.missing)} shards are not there, {missing[0]} the first",
                where=f"{job.storage.uri}/{target.location}",
                fix="run `convert --shard` again for the parts that did not end",
            )
        return _publish(job, target, done)


def rebuild(
    job: ConversionJob,
    manifest: Manifest,
    shards: Sequence[Shard],
    processes: int = 1,
    progress: ProgressOf = log.Progress,
) -> None:
    """Write damaged shards of a cache again; StorageError if what comes out is not what the manifest says."""
    tools = _tools(job, manifest.location, "rebuild", *(shard.name for shard in shards))
    by_range = {shard.range: shard for shard in shards}
    with _working(tools):
        for built in _run(job, tools, list(by_range), build_shard, processes, progress):
            if built != by_range[built.range]:
                raise StorageError(
                    "the shard cannot be made again: the inputs, or the libraries that read them, have changed",
                    where=f"{job.storage.uri}/{manifest.location}/{built.name}",
                    fix=f"delete {job.storage.uri}/{manifest.location}; the next run converts anew",
                )
            job.storage.put(tools.work / built.name, f"{manifest.location}/{built.name}", replace=True)


def _target(job: ConversionJob) -> _Target:
    """Extend the newest cache, go on with one that was begun, or begin the next generation."""
    known = generations(job.storage, job.cache_id)
    newest = known[0] if known else 1
    begun = job.storage.size(f"{location(job.cache_id, newest)}/{NAME}") is None
    base = None if job.fresh else next(published(job.storage, job.cache_id), None)
    if base is not None:
        return _Target(base.location, base, ranges(base.samples, job.samples, base.samples_per_shard))
    generation = newest if begun else newest + 1
    missing = ranges(0, job.samples, job.samples_per_shard or _samples_per_shard(job))
    return _Target(location(job.cache_id, generation), None, missing)


def _samples_per_shard(job: ConversionJob) -> int:
    """As many samples as surely fit into `SHARD_BYTES`: a function of the options alone."""
    tokens = token_dtype(job.extractor.vocab_size).itemsize * job.extractor.doc_budget(0)
    return max(1, SHARD_BYTES // (max(job.group_size, 1) * (tokens + 64)))


def _write(
    job: ConversionJob, target: _Target, wanted: Sequence[Range], processes: int, progress: ProgressOf
) -> dict[Range, Shard]:
    """Write those of the shards that have not been written yet; what all of them are."""
    tools = _tools(job, target.location, *(shard.name for shard in wanted[:1]))
    with _working(tools):
        done = _finished(job, target, wanted)
        todo = [shard for shard in wanted if shard not in done]
        if done:
            log.say(f"{len(done)} of {len(wanted)} shards have been converted already")
        if todo:
            for shard in _run(job, tools, todo, write_shard, processes, progress):
                done[shard.range] = shard
    return done


@contextmanager
def _working(tools: Tools) -> Iterator[None]:
    """Have the work folder alone. It stays when the work is interrupted, and goes when it is done, or cannot be."""
    with exclusive(tools.work / LOCK):
        try:
            yield
        except DataError:
            _remove(tools.work)
            raise
        _remove(tools.work)


def _remove(work: Path) -> None:
    """Remove a work folder, unless somebody begins in it at the moment in which its lock is gone."""
    shutil.rmtree(work, ignore_errors=True)


def _run(
    job: ConversionJob,
    tools: Tools,
    shards: Sequence[Range],
    function: Callable[[Tools, Range], Shard],
    processes: int,
    progress: ProgressOf,
) -> Iterator[Shard]:
    """What `function` makes of every shard, once its samples are numbered and their texts tokenised."""
    samples = sum(len(shard.samples) for shard in shards)
    if not holds(tools.numbers, shards):
        shutil.rmtree(tools.tokens, ignore_errors=True)
        with progress(samples, "sampling", "samples") as bar:
            write_numbers(tools.numbers, job.sampler, shards, bar)
    texts = count_ids(tools.numbers)
    count = min(processes, max(texts // TEXTS_PER_PROCESS, samples // SAMPLES_PER_PROCESS, 1))
    with workers(tools, count) as pool:
        with progress(texts, "tokenising", "texts") as bar:
            tokenise(tools, job.queries, pool, bar)
        with progress(samples, "converting", "samples") as bar:
            for shard in pool.map(function, shards):
                bar.advance(len(shard.range.samples))
                yield shard


def _finished(job: ConversionJob, target: _Target, wanted: Sequence[Range]) -> dict[Range, Shard]:
    """The shards that have a receipt and are what it says."""
    receipts = (read_receipt(job.storage, target.location, shard) for shard in wanted)
    return {r.range: r for r in receipts if r is not None and is_complete(job.storage, target.location, r)}


def _tools(job: ConversionJob, location: str, *what: str) -> Tools:
    """Tools with the work folder of a piece of work, the same when it is started again."""
    work = job.work / f"{job.cache_id}-{digest([job.storage.uri, location, job.samples, *what])}"
    pages = Pages(work, token_dtype(job.extractor.vocab_size).itemsize)
    return Tools(job.extractor, job.docs, work, job.storage, location, pages)


def _publish(job: ConversionJob, target: _Target, done: Mapping[Range, Shard]) -> Manifest:
    base = target.base
    manifest = Manifest(
        cache_id=job.cache_id,
        identity=job.identity,
        token_dtype=token_dtype(job.extractor.vocab_size).name,
        samples=job.samples,
        samples_per_shard=base.samples_per_shard if base else job.samples_per_shard or _samples_per_shard(job),
        shards=(*(base.shards if base else ()), *(done[shard] for shard in target.missing)),
        location=target.location,
    )
    if job.source:
        job.storage.write_bytes(f"{target.location}/{SOURCE}", job.source.encode())
    name = f"{target.location}/{NAME}"
    if not job.storage.swap(name, base.dump() if base else None, manifest.dump()):
        raise StorageError(
            "another process has published this cache in the meantime",
            where=f"{job.storage.uri}/{name}",
            fix="run again: what it made is taken",
        )
    remove_receipts(job.storage, manifest)
    _remove_leftovers(job)
    return manifest


def _remove_leftovers(job: ConversionJob) -> None:
    """Remove the work folders of conversions of this cache that nobody goes on with."""
    for work in job.work.glob(f"{job.cache_id}-*"):
        if not taken(work / LOCK):
            shutil.rmtree(work, ignore_errors=True)
