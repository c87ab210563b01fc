"""Conversion: number the samples, tokenise each text that they need once, and write the shards.

The result is the same to the byte for any number of processes and interruptions: every file is a pure function of its
name. Shards are put into storage as they are finished, and the manifest makes a cache of them at the end. Unfinished
work is in a local work folder, and a restarted conversion continues it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rankcli import log
from rankcli.config.identity import digest
from rankcli.errors import MissingError, StorageError
from rankcli.records.lookup import generations, published
from rankcli.records.manifest import NAME, Manifest, Shard, location
from rankcli.records.shards import build_shard, is_complete, read_receipt, remove_receipts, write_shard
from rankcli.records.steps import LOCK, ConversionJob, ProgressOf, run_steps, working
from rankcli.records.stripes import Range, ranges
from rankcli.records.tokens import NUMBERS, TEXTS, Tokenised, Tools
from rankcli.storage.locks import taken

SHARD_BYTES = 8_000_000  # at most, if a sample is no larger: object storage takes such a file in one checked request
SOURCE = "source.yaml"


class JobPart(NamedTuple):
    """Every `of`-th missing shard, from the `number`-th on, counted from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


class _Target(NamedTuple):
    """The location of a job's cache, the cache that it extends, and the shards that are missing."""

    location: str
    base: Manifest | None
    missing: list[Range]


def convert(job: ConversionJob, processes: int = 1, progress: ProgressOf = log.Progress) -> Manifest:
    """Find or make the cache of `job`, with up to `processes` processes, and return its manifest.

    If several processes convert the same at once, one does the work; the others wait and use its cache.
    """
    with job.storage.lock(job.cache_id):
        target = _target(job)
        if target.base is not None and not target.missing:
            if target.base.receipts:
                remove_receipts(job.storage, target.base)  # of a conversion that was killed at its end
            return target.base
        done = _write(job, target, target.missing, processes, progress)
        return _publish(job, target, done)


def convert_part(job: ConversionJob, part: JobPart, processes: int = 1, progress: ProgressOf = log.Progress) -> int:
    """Write the shards of `part` and their receipts, and return their number. `finalize` makes a cache of all parts."""
    target = _target(job)
    return len(_write(job, target, target.missing[part.number - 1 :: part.of], processes, progress))


def finalize(job: ConversionJob) -> Manifest:
    """Check the shards of all parts and publish the cache; MissingError, with the first one, if shards are missing."""
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
    """Write damaged shards of a cache again; StorageError if the result differs from the manifest."""
    tools = _tools(job, manifest.location, "rebuild", *(shard.name for shard in shards))
    by_range = {shard.range: shard for shard in shards}
    with working(tools):
        for built in run_steps(job, tools, list(by_range), build_shard, processes, progress):
            if built != by_range[built.range]:
                raise StorageError(
                    "the shard cannot be made again: the inputs, or the libraries that read them, have changed",
                    where=f"{job.storage.uri}/{manifest.location}/{built.name}",
                    fix=f"delete {job.storage.uri}/{manifest.location}; the next run converts anew",
                )
            job.storage.put(tools.work / built.name, f"{manifest.location}/{built.name}", replace=True)


def _target(job: ConversionJob) -> _Target:
    """Extend the newest cache, continue an unfinished one, or begin the next generation."""
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
    """The number of samples that are sure to fit into `SHARD_BYTES`: a function of the options alone."""
    nothing = dict.fromkeys(job.codec.of_level("query"), 0)
    tokens = sum(
        stream.bytes * job.extractor.budget(name, nothing) for name, stream in job.codec.of_level("doc").items()
    )
    columns = 4 * (len(job.columns) + (job.features.width if job.features else 0))
    return max(1, SHARD_BYTES // (max(job.group_size, 1) * (tokens + columns + 64)))


def _write(
    job: ConversionJob, target: _Target, wanted: Sequence[Range], processes: int, progress: ProgressOf
) -> dict[Range, Shard]:
    """Write the wanted shards that are not finished yet, and return the entries of all wanted ones."""
    tools = _tools(job, target.location, *(shard.name for shard in wanted[:1]))
    with working(tools):
        done = _finished(job, target, wanted)
        todo = [shard for shard in wanted if shard not in done]
        if done:
            log.say(f"{len(done)} of {len(wanted)} shards have been converted already")
        if todo:
            for shard in run_steps(job, tools, todo, write_shard, processes, progress):
                done[shard.range] = shard
    return done


def _finished(job: ConversionJob, target: _Target, wanted: Sequence[Range]) -> dict[Range, Shard]:
    """The shards that have a receipt and match it."""
    receipts = (read_receipt(job.storage, target.location, shard) for shard in wanted)
    return {r.range: r for r in receipts if r is not None and is_complete(job.storage, target.location, r)}


def _tools(job: ConversionJob, location: str, *what: str) -> Tools:
    """Tools with the work folder of this work; a restart of the same work has the same folder."""
    work = job.work / f"{job.cache_id}-{digest([job.storage.uri, location, job.samples, *what])}"
    tokenised = Tokenised(work / NUMBERS, work / TEXTS, job.codec)
    given = (job.extractor, job.codec, job.queries, job.docs, job.features)
    return Tools(*given, work, job.storage, location, tokenised)


def _publish(job: ConversionJob, target: _Target, done: Mapping[Range, Shard]) -> Manifest:
    base = target.base
    manifest = Manifest(
        cache_id=job.cache_id,
        identity=job.identity,
        streams=job.codec.streams,
        columns=job.codec.columns,
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
    """Remove the work folders of this cache that no process has locked."""
    for work in job.work.glob(f"{job.cache_id}-*"):
        if not taken(work / LOCK):
            shutil.rmtree(work, ignore_errors=True)
