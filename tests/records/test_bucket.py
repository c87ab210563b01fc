"""Conversions into a bucket whose requests fail: the same cache, every object written once."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from record_fakes import expected, job, same

from rankcli.records.convert import JobPart, convert, convert_part, finalize
from rankcli.records.interleave import Records, read_examples
from rankcli.records.lookup import explain_miss, find
from rankcli.storage import _retry
from rankcli.storage.open import open_storage
from tests.gcs.proxy import KINDS

pytestmark = pytest.mark.faults
SAMPLES = 11


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_retry, "POLICY", _retry.Policy(pause_s=0.01, answer_s=0.5, deadline_s=3.0))


def converted(gcs: Any, folder: Path, root: str) -> Records:
    storage = open_storage(f"{gcs.uri}/{root}")
    return Records(convert(job(folder, storage=storage, samples=SAMPLES)), storage)


def whole_and_written_once(gcs: Any, folder: Path, root: str) -> int:
    """Convert and read; how many requests that took."""
    gcs.proxy.calls.clear()
    records = converted(gcs, folder, root)
    assert all(same(example, expected(n)) for n, example in enumerate(read_examples(records)))
    times = Counter(name for name in gcs.proxy.rules.written if f"/{root}/" in name and not name.endswith("/lock"))
    assert set(times.values()) == {1} and len(times) == 2 * len(records.manifest.shards) + 1
    return len(gcs.proxy.calls)


def test_the_cache_is_that_of_a_local_conversion(gcs: Any, tmp_path: Path) -> None:
    there = converted(gcs, tmp_path / "work", "a").manifest
    here = convert(job(tmp_path / "local", samples=SAMPLES))
    assert there == here and there.dump() == here.dump()


def test_parts_in_a_bucket_make_the_same_cache(gcs: Any, tmp_path: Path) -> None:
    storage = open_storage(f"{gcs.uri}/parts")
    for number in (2, 1, 3):
        convert_part(job(tmp_path / f"machine-{number}", storage=storage, samples=SAMPLES), JobPart(number, 3))
    made = finalize(job(tmp_path / "machine-1", storage=storage, samples=SAMPLES))
    assert made.dump() == convert(job(tmp_path / "local", samples=SAMPLES)).dump()
    assert storage.list(made.location) == sorted(["manifest.json", *(shard.name for shard in made.shards)])


def test_caches_are_looked_for_with_one_listing_and_each_manifest_is_read_once(gcs: Any, tmp_path: Path) -> None:
    manifest = converted(gcs, tmp_path / "work", "a").manifest
    storage = open_storage(f"{gcs.uri}/a")
    for cache_id in ("aa", "bb", "cc"):
        content = dataclasses.replace(manifest, cache_id=cache_id, identity={"seed": cache_id}).dump()
        storage.write_bytes(f"{cache_id}/1/manifest.json", content)
    gcs.proxy.calls.clear()
    found = find(storage, manifest.cache_id, SAMPLES)
    assert found == manifest and not found.receipts
    assert len(gcs.proxy.calls) == 1 + 2, "what the object is now, and its content"
    gcs.proxy.calls.clear()
    assert explain_miss(storage, {"seed": "bc"}) == "cache aa differs in seed (aa, wanted bc)"
    assert len(gcs.proxy.calls) == 1 + 4 * 2
    storage.write_bytes(f"{manifest.location}/parts/shard.json", b"")
    found = find(storage, manifest.cache_id, SAMPLES)
    assert found is not None and found.receipts


@pytest.mark.parametrize("kind", KINDS)
def test_one_request_that_fails_changes_nothing(gcs: Any, tmp_path: Path, kind: str) -> None:
    calls = whole_and_written_once(gcs, tmp_path / "first", "first")
    for call in (KINDS.index(kind) + 2, calls // 2 + KINDS.index(kind), calls - 3):
        gcs.proxy.reset()
        gcs.proxy.fail_calls([call], kind)
        whole_and_written_once(gcs, tmp_path / f"{call}", f"at-{call}")
        assert gcs.proxy.injected == [kind]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_any_request_that_fails_changes_nothing(gcs: Any, tmp_path: Path, kind: str) -> None:
    calls = whole_and_written_once(gcs, tmp_path / "first", "first")
    for call in range(calls):
        gcs.proxy.reset()
        gcs.proxy.fail_calls([call], kind)
        whole_and_written_once(gcs, tmp_path / f"{call}", f"at-{call}")
        assert gcs.proxy.injected == [kind], call
