"""Manifests: which cache serves a run, and which is passed over."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_fakes import converted

from rankcli.errors import StorageError
from rankcli.records.codec import Stream
from rankcli.records.lookup import explain_miss, find, generations, load
from rankcli.records.manifest import Manifest, Shard
from rankcli.storage.local import LocalStorage
from rankcli.storage.sealed import sealed, unsealed


def shard(stripe: int, first: int, end: int, size: int = 1) -> Shard:
    return Shard(
        stripe=stripe,
        first=first,
        end=end,
        bytes=size,
        crc32c=7,
        documents=3 * (end - first),
        tokens_total=20,
        tokens_kept=15,
    )


MANIFEST = Manifest(
    cache_id="ab12",
    identity={"sampler": {"name": "LCE", "nneg": 7}, "seed": 1},
    streams={"doc": Stream("doc", "uint16"), "query": Stream("query", "uint8")},
    columns=("teacher",),
    samples=17,
    samples_per_shard=2,
    shards=(
        shard(0, 0, 2, 50),
        *(shard(stripe, 0, 1, 10) for stripe in range(1, 8)),
        shard(0, 2, 3, 5),
        *(shard(stripe, 1, 2, 10) for stripe in range(1, 8)),
    ),
)
WHERE, LOCATION = "store/ab12/1/manifest.json", "ab12/1"


def holding(samples: int, **changes: Any) -> Manifest:
    """A cache of at most eight samples, a shard for each."""
    shards = tuple(shard(stripe, 0, 1) for stripe in range(samples))
    return dataclasses.replace(MANIFEST, samples=samples, shards=shards, **changes)


def store(storage: LocalStorage, manifest: Manifest, generation: int) -> None:
    storage.write_bytes(f"{manifest.cache_id}/{generation}/manifest.json", manifest.dump())


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


def test_a_manifest_comes_back_from_its_file() -> None:
    back = Manifest.parse(MANIFEST.dump(), WHERE, LOCATION)
    assert back == dataclasses.replace(MANIFEST, location=LOCATION)
    content = json.loads(MANIFEST.dump())
    assert (content["schema_version"], content["stripes"], len(content["shards"])) == (3, 8, 16)
    assert "location" not in content and content["shards"][8]["name"] == "shard-00-00000002-00000003.tfrecord"


def test_totals_are_those_of_the_shards() -> None:
    assert (MANIFEST.total_bytes, MANIFEST.documents) == (50 + 7 * 10 + 5 + 7 * 10, 3 * 17)
    assert (MANIFEST.tokens_total, MANIFEST.tokens_kept, MANIFEST.share_cut) == (16 * 20, 16 * 15, 0.25)
    assert holding(0).share_cut == 0


@pytest.mark.faults
def test_every_damaged_byte_is_found() -> None:
    data = holding(2).dump()
    for position in range(len(data) - 1):  # the last is the end of the line
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises(StorageError, match="unusable manifest"):
            Manifest.parse(bytes(damaged), WHERE, LOCATION)
        with pytest.raises(StorageError, match="unusable manifest") as caught:
            Manifest.parse(data[:position], WHERE, LOCATION)
        assert caught.value.where == WHERE


def without(*left_out: int) -> tuple[Shard, ...]:
    return tuple(entry for n, entry in enumerate(MANIFEST.shards) if n not in left_out)


@pytest.mark.faults
@pytest.mark.parametrize(
    "changes",
    [
        {"samples": 18},
        {"samples": 16},
        {"samples": "17"},
        {"samples_per_shard": 0},
        {"streams": {"doc": Stream("doc", "float16")}},
        {"shards": MANIFEST.shards[::-1]},
        {"shards": without(3)},
        {"shards": without(0)},
        {"shards": (*MANIFEST.shards, MANIFEST.shards[-1])},
        {"shards": (*without(15), shard(8, 0, 1))},
        {"shards": (*without(15), shard(7, 0, 1))},
        {"shards": (*without(15), shard(7, 1, 1))},
    ],
)
def test_manifests_that_contradict_themselves_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(StorageError, match="unusable manifest"):
        Manifest.parse(dataclasses.replace(MANIFEST, **changes).dump(), WHERE, LOCATION)


@pytest.mark.faults
@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../../escape"},
        {"name": "shard-00-00000000-00000001.tfrecord"},
        {"name": 3},
        {"stripe": "0"},
        {"first": 0.0},
        {"end": None},
        {"more": 1},
    ],
)
def test_a_shard_is_called_what_its_numbers_say(changes: dict[str, Any]) -> None:
    content = unsealed(MANIFEST.dump())
    content["shards"][0].update(changes)
    with pytest.raises(StorageError, match="unusable manifest"):
        Manifest.parse(sealed(content), WHERE, LOCATION)


@pytest.mark.parametrize("changes", [{"schema_version": 2}, {"schema_version": 4}, {"stripes": 4}])
def test_another_version_is_refused_by_name(changes: dict[str, int]) -> None:
    with pytest.raises(StorageError, match="it is of another version") as caught:
        Manifest.parse(sealed({**unsealed(MANIFEST.dump()), **changes}), WHERE, LOCATION)
    assert (caught.value.where, caught.value.exit_code) == (WHERE, 6)


@pytest.mark.faults
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["shards", "samples", "checksum", "x"]), inner),
    )
)
def test_whatever_json_it_is_a_manifest_or_a_storage_failure(content: Any) -> None:
    with pytest.raises(StorageError, match="unusable manifest"):
        Manifest.parse(json.dumps(content).encode(), WHERE, LOCATION)


def test_a_cache_serves_every_run_that_needs_no_more_samples(storage: LocalStorage) -> None:
    store(storage, holding(5), 1)
    found = {wanted: find(storage, "ab12", wanted) for wanted in range(8)}
    assert {wanted: manifest.samples for wanted, manifest in found.items() if manifest} == dict.fromkeys(range(6), 5)
    assert find(storage, "ab13", 1) is None


def test_of_several_generations_the_newest_that_is_long_enough_serves(storage: LocalStorage) -> None:
    for generation, samples in ((1, 8), (2, 3), (10, 5)):
        store(storage, holding(samples), generation)
    found = {wanted: find(storage, "ab12", wanted) for wanted in range(10)}
    served = {wanted: manifest.location for wanted, manifest in found.items() if manifest}
    assert served == {**dict.fromkeys(range(6), "ab12/10"), **dict.fromkeys((6, 7, 8), "ab12/1")}
    assert generations(storage, "ab12") == [10, 2, 1]


def test_folders_that_are_not_caches_are_nobodys_concern(storage: LocalStorage) -> None:
    store(storage, MANIFEST, 8)
    shards = "ab12/20/shard-00-00000000-00000001.tfrecord"
    for name in ("ab12/notes", "ab12/900x/manifest.json", "ab12/08/manifest.json", shards, "other"):
        storage.write_bytes(name, b"{}")
    assert generations(storage, "ab12") == [20, 8]
    assert find(storage, "ab12", 3) == load(storage, "ab12/8") == dataclasses.replace(MANIFEST, location="ab12/8")


@pytest.mark.faults
def test_a_damaged_manifest_is_passed_over_and_said(storage: LocalStorage, capsys: pytest.CaptureFixture[str]) -> None:
    store(storage, MANIFEST, 8)
    storage.write_bytes("ab12/9/manifest.json", MANIFEST.dump().replace(b"LCE", b"lce"))
    manifest = find(storage, "ab12", 8)
    assert manifest is not None and manifest.location == "ab12/8"
    assert "ab12/9/manifest.json: passed over: unusable manifest: its checksum" in capsys.readouterr().err
    with pytest.raises(StorageError, match="its checksum does not match"):
        load(storage, "ab12/9")


@pytest.mark.faults
def test_a_manifest_under_another_id_does_not_serve(storage: LocalStorage) -> None:
    storage.write_bytes("ffff/1/manifest.json", MANIFEST.dump())
    assert find(storage, "ffff", 8) is None


def test_a_miss_is_explained_by_the_nearest_cache(storage: LocalStorage) -> None:
    assert explain_miss(storage, MANIFEST.identity) == ""
    store(storage, dataclasses.replace(MANIFEST, cache_id="aa", identity={"seed": 2, "split": "dev"}), 1)
    store(storage, MANIFEST, 1)
    wanted = {"sampler": {"name": "LCE", "nneg": 3}, "seed": 1, "depth": 5}
    said = "cache ab12 differs in depth (nothing, wanted 5); sampler.nneg (7, wanted 3)"
    assert explain_miss(storage, wanted) == said
    assert explain_miss(storage, MANIFEST.identity) == "cache ab12 differs in nothing but its number of samples"


def test_options_that_have_their_default_are_no_difference(storage: LocalStorage) -> None:
    """A cache made without `depth` differs by it only from one whose `depth` is not the default."""
    store(storage, MANIFEST, 1)

    def complete(identity: Any) -> dict[str, Any]:
        return {"depth": 5, **identity}

    wanted = {**MANIFEST.identity, "seed": 2, "depth": 5}
    assert explain_miss(storage, wanted, complete) == "cache ab12 differs in seed (1, wanted 2)"


def test_long_values_are_said_by_their_start(storage: LocalStorage) -> None:
    store(storage, dataclasses.replace(MANIFEST, identity={"data": "0123456789" * 4}), 1)
    said = "cache ab12 differs in data (01234567..., wanted abcdefgh...)"
    assert explain_miss(storage, {"data": "abcdefghijklmnopqrstuvwxyz"}) == said


def test_versions_are_recorded(tmp_path: Path) -> None:
    manifest = converted(tmp_path, samples=1).manifest
    assert set(manifest.versions) == {"rankcli", "python", "numpy", "protobuf"}
