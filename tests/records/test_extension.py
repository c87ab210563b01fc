"""Caches that are made longer: only what is missing is written, and nothing that was there changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from record_fakes import Stopped, Writer, converted, expected, inodes, job, same, tree

from rankcli.errors import StorageError
from rankcli.records.convert import convert
from rankcli.records.interleave import read_examples
from rankcli.records.lookup import find
from rankcli.records.manifest import Manifest
from rankcli.records.stripes import ranges
from rankcli.storage.local import LocalStorage


@pytest.mark.parametrize(("have", "want"), [(0, 5), (5, 6), (8, 23), (9, 23), (16, 23), (22, 23), (23, 200)])
def test_an_extended_cache_holds_what_one_made_at_once_does(tmp_path: Path, have: int, want: int) -> None:
    converted(tmp_path / "steps", samples=have)
    records = converted(tmp_path / "steps", samples=want)
    whole = converted(tmp_path / "whole", samples=want)
    examples = list(read_examples(records))
    assert len(examples) == want and all(map(same, examples, read_examples(whole)))
    assert all(same(example, expected(n)) for n, example in enumerate(examples))
    totals = [(m.samples, m.documents, m.tokens_total, m.tokens_kept) for m in (records.manifest, whole.manifest)]
    assert totals[0] == totals[1] and records.manifest.location == "c0ffee/1"
    assert find(records.storage, "c0ffee", want) == records.manifest


def test_only_missing_shards_are_written_and_the_others_stay_untouched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 9 to 21 samples of two per shard: stripe 0 has two positions, the others one."""
    first = converted(tmp_path, samples=9).manifest
    before = inodes(tmp_path / "c0ffee/1")
    writer = Writer(monkeypatch)
    longer = converted(tmp_path, samples=21).manifest
    after = inodes(tmp_path / "c0ffee/1")
    assert {name for name in before if after[name] != before[name]} == {"manifest.json"}
    added = [shard.name for shard in ranges(9, 21, 2)]
    assert writer.written == added == sorted(set(after) - set(before), key=added.index) and len(added) == 12
    assert longer.shards[: len(first.shards)] == first.shards
    assert [shard.name for shard in longer.shards[len(first.shards) :]] == added


def test_a_cache_serves_fewer_samples_without_anything_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = converted(tmp_path).manifest
    before, writer = inodes(tmp_path / "c0ffee/1"), Writer(monkeypatch)
    for samples in (0, 1, 22, 23):
        assert convert(job(tmp_path, samples=samples)) == whole
    assert inodes(tmp_path / "c0ffee/1") == before and writer.written == []


def test_shards_keep_their_size_when_the_cache_grows(tmp_path: Path) -> None:
    converted(tmp_path, samples=9, samples_per_shard=2)
    longer = converted(tmp_path, samples=40, samples_per_shard=5).manifest
    assert longer.samples_per_shard == 2 and max(shard.end - shard.first for shard in longer.shards) == 2


def test_the_newest_generation_is_extended(tmp_path: Path) -> None:
    converted(tmp_path, samples=9)
    converted(tmp_path, samples=9, fresh=True)
    before = tree(tmp_path / "c0ffee/1")
    longer = converted(tmp_path, samples=21).manifest
    assert longer.location == "c0ffee/2" and tree(tmp_path / "c0ffee/1") == before


@pytest.mark.faults
def test_an_extension_that_is_interrupted_leaves_the_cache_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = converted(tmp_path, samples=9)
    Writer(monkeypatch, stop_after=5)
    with pytest.raises(Stopped):
        convert(job(tmp_path, samples=21))
    assert find(short.storage, "c0ffee", 9) == short.manifest and find(short.storage, "c0ffee", 10) is None
    assert all(same(example, expected(n)) for n, example in enumerate(read_examples(short)))
    writer = Writer(monkeypatch)
    longer = converted(tmp_path, samples=21)
    assert writer.written == [shard.name for shard in ranges(9, 21, 2)[5:]]
    assert len(list(read_examples(longer))) == 21
    assert not (tmp_path / "c0ffee/1/parts").exists() and not any((tmp_path / "tmp.work").iterdir())


@pytest.mark.faults
def test_a_manifest_that_changed_in_the_meantime_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody publishes without having the lock: finding the other's manifest is an error, not a loss."""
    converted(tmp_path, samples=9)
    swap = LocalStorage.swap

    def overtaken(self: LocalStorage, name: str, old: bytes | None, new: bytes) -> bool:
        found = Manifest.parse(self.read_bytes(name), name, "c0ffee/1")
        self.write_bytes(name, Manifest(**{**vars(found), "versions": {"rankcli": "other"}}).dump())
        return swap(self, name, old, new)

    monkeypatch.setattr(LocalStorage, "swap", overtaken)
    with pytest.raises(StorageError, match="another process has published this cache in the meantime") as caught:
        convert(job(tmp_path, samples=21))
    assert caught.value.where == f"{tmp_path}/c0ffee/1/manifest.json"
    monkeypatch.undo()
    assert converted(tmp_path, samples=9).manifest.versions == {"rankcli": "other"}
