"""Maintain the caches of a storage, of TFRecords and of vectors: list them, verify them, remove unneeded ones."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rankcli import log
from rankcli.caches.damage import Damage, Note, find_damages, notes
from rankcli.caches.entries import COMPLETE, Entry, entries, links
from rankcli.caches.local import Work, local_work
from rankcli.caches.prune import Criteria, Item, choose, remove, sparing_strangers
from rankcli.caches.text import counted, described, described_work, local_lines, table
from rankcli.caches.vectors import (
    VectorEntry,
    counted_sets,
    described_vectors,
    vector_entries,
    vector_lines,
    verify_vectors,
)
from rankcli.records.manifest import NAME
from rankcli.runs.records import records_storage
from rankcli.runs.vectors import vectors_storage
from rankcli.storage.base import Storage
from rankcli.storage.places import cache_uri, local_root


def ls(option: str | None) -> dict[str, Any]:
    """List the caches at the option `storage`, last used first. Returns `text` for people and `result` for programs."""
    storage, root = records_storage(option), local_root(option)
    found = sorted(entries(storage), key=lambda entry: -entry.last_used)
    work, vectors = local_work(root), vector_entries(vectors_storage(option))
    result = {
        "storage": storage.uri,
        "caches": [described(storage.uri, entry) for entry in found],
        "bytes": sum(entry.bytes for entry in found),
        "vectors": [described_vectors(entry) for entry in vectors],
        "vector_bytes": sum(entry.bytes for entry in vectors),
        "work": [described_work(each) for each in work],
        "work_bytes": sum(each.bytes for each in work),
    }
    total = f"{storage.uri}: {counted(len(found), 'cache')}, {result['bytes']:,} bytes"
    lines = [*(table(found, time.time()) if found else []), total]
    if vectors:
        lines += ["", *vector_lines(vectors, time.time()), counted_sets(vectors)]
    if work:
        lines += [
            "",
            *local_lines(work, time.time()),
            f"{root}: {counted(len(work), 'thing')} made of inputs or downloaded, {result['work_bytes']:,} bytes",
        ]
    return {"result": result, "text": "\n".join(lines)}


def verify(option: str | None, *, repair: bool = False) -> dict[str, Any]:
    """Compare every shard with its manifest. With `repair`, repair damages where possible.

    `result["damages"]` tells for each damage whether it was repaired; `result["unrepaired"]` counts the others.
    """
    storage = records_storage(option)
    found = entries(storage)
    said = [*(Note(name, "a link: not followed") for name in links(storage)), *notes(storage, found)]
    damages = find_damages(storage, found)
    refusals, left = _repaired(storage, option, found, damages) if repair and damages else ({}, damages)
    sets = vector_entries(vectors_storage(option))
    of_vectors = verify_vectors(sets, repair)
    all_found: list[Entry | VectorEntry] = [*found, *sets]
    manifests = [entry.manifest for entry in all_found if entry.manifest]
    result = {
        "storage": storage.uri,
        "caches": sum(entry.state == COMPLETE for entry in all_found),
        "shards": sum(len(manifest.shards) for manifest in manifests),
        "bytes": sum(manifest.total_bytes for manifest in manifests),
        "damages": [*_outcomes(storage, damages, left, refusals), *of_vectors],
        "unrepaired": len(left) + sum(not damage["repaired"] for damage in of_vectors),
        "notes": [{"path": f"{storage.uri}/{note.path}", "what": note.what} for note in said],
    }
    return {"result": result, "text": "\n".join(_verify_lines(result, repair))}


def prune(option: str | None, criteria: Criteria, *, dry_run: bool = False) -> dict[str, Any]:
    """Remove the caches and local folders that match `criteria` and are not in use.

    Each is named on stderr before the first one goes. The result lists what was removed, what was kept because it is in
    use or holds files that are not ours, and what could not be removed.
    """
    storage = records_storage(option)
    sets = vector_entries(vectors_storage(option))
    found: list[Item] = [*entries(storage), *sets, *local_work(local_root(option))]
    done = [sparing_strangers(storage, each) for each in choose(found, criteria, time.time())]
    if not dry_run:
        for each in done:
            if not each.kept_for:
                log.say(f"removing {_path(storage, each.item)}, {each.item.bytes:,} bytes: {each.why}")
        done = [each if each.kept_for else remove(storage, each) for each in done]
    gone = [each for each in done if not each.kept_for]
    freed = sum(each.item.bytes for each in gone)
    result = {
        "storage": storage.uri,
        "dry_run": dry_run,
        "removed": [_named(storage, each.item, each.why) for each in gone],
        "kept": [_named(storage, each.item, each.kept_for) for each in done if each.kept_for and not each.failed],
        "failed": [_named(storage, each.item, each.kept_for) for each in done if each.failed],
        "bytes_freed": freed,
        "bytes_left": sum(item.bytes for item in found) - freed,
    }
    return {"result": result, "text": "\n".join(_prune_lines(result))}


def _repaired(
    storage: Storage, option: str | None, found: Sequence[Entry], damages: Sequence[Damage]
) -> tuple[dict[str, str], list[Damage]]:
    """Repair caches. Return the reasons why caches could not be repaired, and the damages that a second check finds."""
    from rankcli.caches.repair import Repairer

    refusals = Repairer(storage, cache_uri(option)).repair(found, damages)
    ids = {damage.location.partition("/")[0] for damage in damages}
    left = find_damages(storage, [entry for entry in entries(storage) if entry.cache_id in ids])
    seen = {damage.path for damage in left}  # a damaged manifest that was deleted and not replaced is not found
    lost = [each for each in damages if each.name == NAME and each.location in refusals and each.path not in seen]
    return refusals, [*left, *lost]


def _outcomes(
    storage: Storage, damages: Sequence[Damage], left: Sequence[Damage], refusals: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield every damage of the first and the second check, with `repaired` and, if not repaired, the reason."""
    still = {damage.path for damage in left}
    for damage in {damage.path: damage for damage in (*damages, *left)}.values():
        yield {
            "path": f"{storage.uri}/{damage.path}",
            "what": damage.what,
            "repaired": damage.path not in still,
            "why": refusals.get(damage.location, "") if damage.path in still else "",
        }


def _verify_lines(result: Mapping[str, Any], repair: bool) -> Iterator[str]:
    for note in result["notes"]:
        yield f"{note['path']}: {note['what']}"
    for damage in result["damages"]:
        why = f": {damage['why']}" if damage["why"] else ""
        outcome = "; repaired" if damage["repaired"] else f"; not repaired{why}" if repair else ""
        yield f"{damage['path']}: {damage['what']}{outcome}"
    checked = f"{counted(result['caches'], 'cache')}, {counted(result['shards'], 'shard')}, {result['bytes']:,} bytes"
    found, left = len(result["damages"]), result["unrepaired"]
    outcome = (counted(found, "damage") + (f", {found - left} repaired" if repair else "")) if found else "all is well"
    yield f"{result['storage']}: {checked} verified; {outcome}"


def _named(storage: Storage, item: Item, why: str) -> dict[str, Any]:
    return {"path": _path(storage, item), "bytes": item.bytes, "why": why}


def _path(storage: Storage, item: Item) -> str:
    return str(item.path) if isinstance(item, (Work, VectorEntry)) else f"{storage.uri}/{item.location}"


def _prune_lines(result: Mapping[str, Any]) -> Iterator[str]:
    verbs = {"removed": "would remove" if result["dry_run"] else "removed", "kept": "kept", "failed": "not removed"}
    for key, verb in verbs.items():
        for item in result[key]:
            yield f"{verb} {item['path']}, {item['bytes']:,} bytes: {item['why']}"
    freed = "would be freed" if result["dry_run"] else "freed"
    yield f"{result['bytes_freed']:,} bytes {freed}, {result['bytes_left']:,} bytes are left"
