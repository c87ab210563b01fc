"""Conversion: the texts of the samples are tokenised once each, then the shards are written, both by several processes.

The result is the same to the byte for any number of processes: it is made of pure functions of the sample's number, in
order. It is built under a temporary name and published by one rename; the manifest is the last file to be written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankcli import log
from rankcli.errors import DataError
from rankcli.extractors._base import Extractor
from rankcli.records import manifest as manifests
from rankcli.records.codec import token_dtype
from rankcli.records.manifest import Manifest
from rankcli.records.shards import write_shard
from rankcli.records.tokens import (
    TEXTS_PER_TASK,
    Ids,
    Texts,
    Tools,
    chunks,
    encode_docs,
    encode_queries,
    write_samples,
    write_tokens,
)
from rankcli.records.workers import Workers, workers
from rankcli.shapes import Sample
from rankcli.storage.atomic import write_file
from rankcli.storage.base import Storage, guard

TEXTS_PER_PROCESS = 4096  # with fewer a process takes longer to start than it saves

ProgressOf = Callable[[int, str, str], log.Progress]


@dataclass(frozen=True, kw_only=True)
class ConversionJob:
    """What to convert (`samples` samples of `sampler`), from which texts, and where to.

    `identity` is what `cache_id` is the hash of, kept in the manifest for people to read. Extractor and documents go to
    the conversion processes, so they can be pickled. A `fresh` job never takes a cache that is there.
    """

    cache_id: str
    identity: Mapping[str, Any]
    sampler: Callable[[int], Sample]
    samples: int
    extractor: Extractor
    queries: Mapping[str, str]
    docs: Texts
    storage: Storage
    samples_per_shard: int = 2048
    fresh: bool = False


def convert(job: ConversionJob, processes: int = 1, progress: ProgressOf = log.Progress) -> Manifest:
    """Convert `job` with up to `processes` processes and publish the cache; its manifest.

    If another process published the same cache in the meantime, that one is taken, unless the job is `fresh`.
    """
    with job.storage.scratch() as scratch:
        build, cache = scratch / "build", scratch / "cache"
        for directory in (build, cache):
            with guard(directory):
                directory.mkdir()
        with progress(job.samples, "sampling", "samples") as bar:
            ids = write_samples(map(job.sampler, range(job.samples)), build, bar)
        count = max(1, min(processes, len(ids) // TEXTS_PER_PROCESS))
        with workers(Tools(job.extractor, job.docs, build), count) as pool:
            with progress(len(ids), "tokenising", "texts") as bar:
                _tokenise(job, ids, build, pool, bar)
            with progress(job.samples, "converting", "samples") as bar:
                manifest = _write_shards(job, cache, pool, bar)
        write_file(cache / manifests.NAME, manifest.dump())
        return _publish(job, cache)


def _tokenise(job: ConversionJob, ids: Ids, build: Path, pool: Workers, bar: log.Progress) -> None:
    missing = next((qid for qid in ids.queries if qid not in job.queries), None)
    if missing is not None:
        raise DataError(f"query {missing!r} has no text", fix="check that queries and qrels use the same ids")
    dtype = token_dtype(job.extractor.vocab_size)
    texts = ([job.queries[qid] for qid in chunk] for chunk in chunks(ids.queries, TEXTS_PER_TASK))
    write_tokens(build / "query", dtype, pool.map(encode_queries, texts), bar)
    write_tokens(build / "doc", dtype, pool.map(encode_docs, chunks(ids.docs, TEXTS_PER_TASK)), bar)


def _write_shards(job: ConversionJob, cache: Path, pool: Workers, bar: log.Progress) -> Manifest:
    starts = range(0, job.samples, job.samples_per_shard)
    tasks = [
        (cache / manifests.shard_name(number), range(start, min(start + job.samples_per_shard, job.samples)))
        for number, start in enumerate(starts)
    ]
    shards, documents, total, kept = [], 0, 0, 0
    for result in pool.map(write_shard, tasks):
        shards.append(result.shard)
        documents += result.documents
        total, kept = total + result.tokens_total, kept + result.tokens_kept
        bar.advance(result.shard.samples)
    return Manifest(
        cache_id=job.cache_id,
        identity=job.identity,
        token_dtype=token_dtype(job.extractor.vocab_size).name,
        samples=job.samples,
        samples_per_shard=job.samples_per_shard,
        shards=tuple(shards),
        documents=documents,
        tokens_total=total,
        tokens_kept=kept,
    )


def _publish(job: ConversionJob, cache: Path) -> Manifest:
    generation = 1
    while True:
        location = manifests.location(job.cache_id, job.samples, generation)
        published = job.storage.publish(cache, location)
        manifest = manifests.load_or_warn(job.storage, location) if published or not job.fresh else None
        if manifest is not None:
            return manifest
        generation += 1
