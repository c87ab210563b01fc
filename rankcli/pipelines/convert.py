"""Convert samples to cached TFRecords ahead of training."""

from __future__ import annotations

from typing import Any

from rankcli.config.schema import SPLITS, RunConfig
from rankcli.pipelines._prepare import prepare


def convert(config: RunConfig, *, split: str = "all") -> dict[str, Any]:
    """Make (or find) the records of one split or all; returns `text` and, per split, where they are."""
    prepared = prepare(config)
    found = {}
    for name in SPLITS if split == "all" else (split,):
        manifest = prepared.records(name).manifest
        path = f"{prepared.storage.uri}/{manifest.location}"
        found[name] = {
            "cache_id": manifest.cache_id,
            "path": path,
            "samples": manifest.samples,
            "bytes": manifest.total_bytes,
        }
    text = "\n".join(
        f"{name}: {it['samples']} samples, {it['bytes']:,} bytes, {it['path']}" for name, it in found.items()
    )
    return {"result": found, "text": text}
