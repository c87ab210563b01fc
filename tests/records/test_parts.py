"""Conversions shared by several jobs: parts in any order, then one that publishes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from record_fakes import Stopped, Writer, converted, inodes, job, tree

from rankcli.errors import MissingError
from rankcli.records.convert import JobPart, convert, convert_part, finalize
from rankcli.records.lookup import find
from rankcli.records.manifest import Manifest
from rankcli.records.steps import ConversionJob
from rankcli.records.stripes import ranges
from rankcli.storage.local import LocalStorage


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_parts_in_any_order_make_the_same_cache_as_one_conversion(tmp_path: Path, order: tuple[int, ...]) -> None:
    converted(tmp_path / "whole", source="data: {}\n")
    parts = job(tmp_path / "parts", source="data: {}\n")
    counts = {number: convert_part(parts, JobPart(number, 3)) for number in order}
    assert counts == {1: 5, 2: 5, 3: 5}
    assert find(parts.storage, "c0ffee", 1) is None
    manifest = finalize(parts)
    assert tree(tmp_path / "parts") == tree(tmp_path / "whole")
    assert find(parts.storage, "c0ffee", 23) == manifest == finalize(parts) == convert(parts)


def test_a_part_is_every_nth_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [shard.name for shard in ranges(0, 23, 2)]
    for number in (1, 2, 3, 4):
        writer = Writer(monkeypatch)
        assert convert_part(job(tmp_path), JobPart(number, 4)) == len(writer.written)
        assert writer.written == names[number - 1 :: 4]
    assert str(JobPart(2, 4)) == "2/4"


def test_more_parts_than_shards_leave_some_without_any(tmp_path: Path) -> None:
    counts = [convert_part(job(tmp_path, samples=3), JobPart(number, 5)) for number in range(1, 6)]
    assert counts == [1, 1, 1, 0, 0] and finalize(job(tmp_path, samples=3)).samples == 3


def test_parts_extend_a_cache_too(tmp_path: Path) -> None:
    converted(tmp_path, samples=9)
    before = inodes(tmp_path / "c0ffee/1")
    longer = job(tmp_path, samples=21)
    assert [convert_part(longer, JobPart(number, 2)) for number in (1, 2)] == [6, 6]
    assert finalize(longer).samples == 21
    after = inodes(tmp_path / "c0ffee/1")
    assert {name for name in before if after[name] != before[name]} == {"manifest.json"}


def test_parts_of_a_fresh_conversion_meet_in_the_next_generation(tmp_path: Path) -> None:
    converted(tmp_path)
    fresh = job(tmp_path, fresh=True)
    for number in (1, 2):
        convert_part(fresh, JobPart(number, 2))
    assert finalize(fresh).location == "c0ffee/2"


@pytest.mark.faults
def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    for number in (1, 3):
        convert_part(job(tmp_path), JobPart(number, 3))
    with pytest.raises(MissingError) as caught:
        finalize(job(tmp_path))
    assert caught.value.what == "5 of 15 shards are not there, shard-01-00000000-00000002.tfrecord the first"
    assert caught.value.where == f"{tmp_path}/c0ffee/1" and "--shard" in caught.value.fix
    assert caught.value.exit_code == 4 and find(LocalStorage(tmp_path), "c0ffee", 1) is None


@pytest.mark.faults
@pytest.mark.parametrize("damage", [b"", b"half", None])
def test_a_shard_that_changed_before_the_end_is_named_and_its_part_repairs_it(
    tmp_path: Path, damage: bytes | None
) -> None:
    converted(tmp_path / "whole")
    parts = job(tmp_path / "parts")
    for number in (1, 2):
        convert_part(parts, JobPart(number, 2))
    path = tmp_path / "parts/c0ffee/1/shard-02-00000000-00000002.tfrecord"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    with pytest.raises(MissingError, match="1 of 15 shards are not there, shard-02-00000000-00000002.tfrecord"):
        finalize(parts)
    assert convert_part(parts, JobPart(1, 2)) == 8
    finalize(parts)
    assert tree(tmp_path / "parts") == tree(tmp_path / "whole")


@pytest.mark.faults
def test_a_part_that_was_interrupted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Writer(monkeypatch, stop_after=3)
    with pytest.raises(Stopped):
        convert_part(job(tmp_path), JobPart(2, 2))
    writer = Writer(monkeypatch)
    assert convert_part(job(tmp_path), JobPart(2, 2)) == 7
    assert writer.written == [shard.name for shard in ranges(0, 23, 2)[1::2][3:]]


def test_a_whole_conversion_takes_what_parts_have_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert_part(job(tmp_path / "parts"), JobPart(1, 2))
    writer = Writer(monkeypatch)
    convert(job(tmp_path / "parts"))
    assert writer.written == [shard.name for shard in ranges(0, 23, 2)[1::2]]
    converted(tmp_path / "whole")
    assert tree(tmp_path / "parts") == tree(tmp_path / "whole")


@pytest.mark.faults
@pytest.mark.parametrize("again", [convert, finalize])
def test_receipts_that_were_left_go_but_not_those_of_an_extension(
    tmp_path: Path, again: Callable[[ConversionJob], Manifest]
) -> None:
    """As by a process that is killed when it has published, while another writes parts of a longer cache."""
    convert_part(job(tmp_path, samples=9), JobPart(1, 1))
    parts = tmp_path / "c0ffee/1/parts"
    receipts = {path.name: path.read_bytes() for path in parts.iterdir()}
    finalize(job(tmp_path, samples=9))
    assert not parts.exists()
    convert_part(job(tmp_path, samples=21), JobPart(1, 1))
    longer = set(os.listdir(parts))
    for name, content in receipts.items():
        (parts / name).write_bytes(content)
    again(job(tmp_path, samples=9))
    assert set(os.listdir(parts)) == longer and len(longer) == 12
    finalize(job(tmp_path, samples=21))
    assert not parts.exists()
