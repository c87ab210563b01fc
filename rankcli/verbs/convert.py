"""Convert samples to cached TFRecords before training, on one machine or on several."""

from __future__ import annotations

from typing import Any

from rankcli.config.schema import RunConfig
from rankcli.records import convert as conversion
from rankcli.records.convert import JobPart
from rankcli.records.manifest import Manifest
from rankcli.records.workers import available_cpus
from rankcli.runs.prepare import prepare
from rankcli.runs.records import RecordSets
from rankcli.runs.sets import named
from rankcli.storage.base import Storage


def convert(
    config: RunConfig, *, split: str = "all", part: JobPart | None = None, finalize: bool = False
) -> dict[str, Any]:
    """Make (or find) the records of one set, of all sets of a part of the split, or of all sets.

    Returns `text` and, per set, the path and size of its records. With `part`, only the shards of that part are
    written. With `finalize`, the shards of all parts are checked and published.
    """
    names = named(config, split)
    sets = prepare(config).sets
    if part is not None:
        return _part(sets, names, part)
    found = {}
    for name in names:
        manifest = conversion.finalize(sets.job(name)) if finalize else sets.records(name).manifest
        found[name] = _found(sets.caching.storage, manifest)
    text = "\n".join(
        f"{name}: {it['samples']} samples, {it['bytes']:,} bytes, {it['path']}" for name, it in found.items()
    )
    return {"result": found, "text": text}


def _found(storage: Storage, manifest: Manifest) -> dict[str, Any]:
    return {
        "cache_id": manifest.cache_id,
        "path": f"{storage.uri}/{manifest.location}",
        "samples": manifest.samples,
        "bytes": manifest.total_bytes,
    }


def _part(sets: RecordSets, names: tuple[str, ...], part: JobPart) -> dict[str, Any]:
    """Write the shards of one part of every set."""
    done = {name: conversion.convert_part(sets.job(name), part, available_cpus()) for name in names}
    text = "\n".join(f"{name}: {shards} shards are written, part {part}" for name, shards in done.items())
    return {
        "result": {
            name: {"cache_id": sets.cache_ids[name], "part": str(part), "shards": shards}
            for name, shards in done.items()
        },
        "text": f"{text}\nwhen all parts are: rankcli convert --finalize",
    }
