"""Manifests: which cache serves a run, and which is passed over."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from record_fakes import converted

from rankcli.errors import StorageError
from rankcli.records.manifest import Manifest, Shard, explain_miss, find, load
from rankcli.storage.local import LocalStorage

SHARDS = tuple(Shard(name=f"shard-{k:05d}.tfrecord", samples=n, bytes=n, crc32c=n) for k, n in enumerate((5, 3)))
MANIFEST = Manifest(
    cache_id="ab12",
    identity={"sampler": {"name": "LCE", "nneg": 7}, "seed": 1},
    token_dtype="uint16",
    samples=8,
    samples_per_shard=5,
    shards=SHARDS,
    documents=12,
    tokens_total=10,
    tokens_kept=9,
)


def store(storage: LocalStorage, manifest: Manifest, folder: str) -> None:
    storage.write_bytes(f"{manifest.cache_id}/{folder}/manifest.json", manifest.dump())


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


def test_a_manifest_comes_back_from_its_file() -> None:
    back = Manifest.parse(MANIFEST.dump(), "ab12/8")
    assert back == dataclasses.replace(MANIFEST, location="ab12/8")
    assert json.loads(MANIFEST.dump())["schema_version"] == 1 and back.total_bytes == 8


@pytest.mark.faults
def test_every_damaged_byte_is_found() -> None:
    data = MANIFEST.dump()
    for position in range(len(data) - 1):  # the last is the end of the line
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises(StorageError, match="unusable manifest"):
            Manifest.parse(bytes(damaged), "ab12/8")
        with pytest.raises(StorageError, match="unusable manifest"):
            Manifest.parse(data[:position], "ab12/8")


@pytest.mark.faults
@pytest.mark.parametrize(
    "changes",
    [
        {"samples": 9},
        {"samples_per_shard": 4},
        {"token_dtype": "float16"},
        {"shards": SHARDS[::-1]},
        {"shards": (dataclasses.replace(SHARDS[0], name="../../escape"), SHARDS[1])},
        {"shards": (dataclasses.replace(SHARDS[0], samples="5"), SHARDS[1])},
    ],
)
def test_manifests_that_contradict_themselves_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(StorageError, match="unusable manifest"):
        Manifest.parse(dataclasses.replace(MANIFEST, **changes).dump(), "ab12/8")


def test_another_schema_version_is_refused_by_name() -> None:
    content = {**json.loads(MANIFEST.dump()), "schema_version": 2}
    with pytest.raises(StorageError, match="schema version 2, not 1") as caught:
        Manifest.parse(json.dumps(content).encode(), "ab12/8")
    assert caught.value.where == "ab12/8/manifest.json"


def test_a_cache_serves_every_run_that_needs_no_more_samples(storage: LocalStorage) -> None:
    for samples in (1, 5, 8):
        shards = (Shard(name="shard-00000.tfrecord", samples=samples, bytes=1, crc32c=1),)
        changed = dataclasses.replace(MANIFEST, samples=samples, samples_per_shard=8, shards=shards)
        store(storage, changed, str(samples))
    found = {wanted: find(storage, "ab12", wanted) for wanted in range(10)}
    served = {wanted: manifest.samples for wanted, manifest in found.items() if manifest is not None}
    assert served == {0: 1, 1: 1, 2: 5, 3: 5, 4: 5, 5: 5, 6: 8, 7: 8, 8: 8}
    assert find(storage, "ab13", 1) is None


def test_folders_that_are_not_caches_are_nobodys_concern(storage: LocalStorage) -> None:
    store(storage, MANIFEST, "8")
    for name in ("ab12/notes", "ab12/900x/manifest.json", "ab12/20/shard-00000.tfrecord", "other"):
        storage.write_bytes(name, b"{}")
    assert find(storage, "ab12", 3) == load(storage, "ab12/8")


@pytest.mark.faults
def test_a_damaged_manifest_is_passed_over_and_said(storage: LocalStorage, capsys: pytest.CaptureFixture[str]) -> None:
    store(storage, MANIFEST, "8")
    storage.write_bytes("ab12/8-2/manifest.json", MANIFEST.dump().replace(b"LCE", b"lce"))
    manifest = find(storage, "ab12", 8)
    assert manifest is not None and manifest.location == "ab12/8"
    assert "ab12/8-2/manifest.json: passed over: unusable manifest: its checksum" in capsys.readouterr().err


@pytest.mark.faults
def test_a_manifest_under_another_id_or_count_does_not_serve(storage: LocalStorage) -> None:
    storage.write_bytes("ffff/8/manifest.json", MANIFEST.dump())
    storage.write_bytes("ab12/9/manifest.json", MANIFEST.dump())
    assert find(storage, "ffff", 8) is None and find(storage, "ab12", 9) is None


def test_a_miss_is_explained_by_the_nearest_cache(storage: LocalStorage) -> None:
    assert explain_miss(storage, MANIFEST.identity) == ""
    store(storage, dataclasses.replace(MANIFEST, cache_id="aa", identity={"seed": 2, "split": "dev"}), "8")
    store(storage, MANIFEST, "8")
    wanted = {"sampler": {"name": "LCE", "nneg": 3}, "seed": 1, "depth": 5}
    assert explain_miss(storage, wanted) == "nearest cache: ab12/8 differs in depth, sampler.nneg"


def test_versions_are_recorded(tmp_path: Path) -> None:
    manifest, _ = converted(tmp_path, samples=1)
    assert set(manifest.versions) == {"rankcli", "python", "numpy", "protobuf"}
