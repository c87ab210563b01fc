"""Damaged files of caches: found before anything is used, whatever the damage."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import pytest
from record_fakes import Groups, Stopped, Writer, converted, expected, job, same

from rankcli.errors import StorageError
from rankcli.records.convert import convert
from rankcli.records.interleave import Records, open_verified, read_examples
from rankcli.records.lookup import find, load
from rankcli.records.manifest import Shard
from rankcli.records.tfrecord import frame, masked_crc, read_records
from rankcli.shapes import Sample
from rankcli.storage.local import LocalStorage
from tests.faults.project import ROOT, Project, contents, counts

pytestmark = pytest.mark.faults


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def cache(whole: Project, tmp_path: Path) -> Records:
    """A copy, to be damaged, of what the command has converted."""
    shutil.copytree(whole.records, tmp_path / "records")
    storage = LocalStorage(tmp_path / "records")
    manifest = load(storage, str(whole.location.relative_to(whole.records)))
    assert manifest is not None
    return Records(manifest, storage)


def path_of(records: Records, shard: Shard) -> Path:
    return Path(records.storage.uri) / records.manifest.location / shard.name


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def some_file(draw: random.Random, root: Path) -> Path:
    """A file below `root`, the larger the likelier."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.stat().st_size)
    return draw.choices(files, [path.stat().st_size for path in files])[0]


@counts("flips", small=[200], full=[1000])
def test_a_flipped_bit_of_a_finished_cache_is_found_or_harmless(tmp_path: Path, flips: int) -> None:
    """The shard is named, or the manifest is passed over; examples that are read are right ones."""
    draw, storage = random.Random(3), LocalStorage(tmp_path)
    converted(tmp_path)
    found, files = 0, sorted((tmp_path / "c0ffee/1").iterdir())
    for _ in range(flips):
        path = draw.choice([files[0], some_file(draw, tmp_path / "c0ffee/1")])  # as often the manifest as a shard
        bit = draw.randrange(8 * path.stat().st_size)
        flip(path, bit)
        manifest = find(storage, "c0ffee", 23)
        if manifest is None:
            assert path.name == "manifest.json"
            found += 1
        else:
            found += not _right(Records(manifest, storage), path)
        flip(path, bit)
    assert files[0].name == "manifest.json" and found == flips
    assert _right(Records(manifest or load(storage, "c0ffee/1"), storage), files[0])


def _right(records: Records, damaged: Path) -> bool:
    """True if all examples are read and right; if not, then because of the damaged file, named."""
    try:
        for n, example in enumerate(read_examples(records)):
            assert same(example, expected(n))
    except StorageError as error:
        assert error.where.startswith(str(damaged)) and error.exit_code == 6
        return False
    return True


@counts("flips", small=[25], full=[1000])
def test_a_flipped_bit_of_an_interrupted_conversion_never_reaches_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flips: int
) -> None:
    """Numbered samples, ids, tokens, receipts and shards: what is damaged is made again."""
    draw = random.Random(4)
    Writer(monkeypatch, stop_after=7)
    with pytest.raises(Stopped):
        convert(job(tmp_path / "root", samples=23))
    Writer(monkeypatch)
    converted(tmp_path / "whole")
    wanted = contents(tmp_path / "whole")
    (tmp_path / "root").rename(tmp_path / "left")
    kinds = [*(tmp_path / "left/tmp.work").glob("*/*"), tmp_path / "left/c0ffee/1/parts", tmp_path / "left/c0ffee/1"]
    folders = [kind for kind in kinds if kind.is_dir()]
    assert {folder.name for folder in folders} == {"numbers", "texts", "parts", "1"}
    for _ in range(flips):
        shutil.copytree(tmp_path / "left", tmp_path / "root")
        path = tmp_path / "root" / some_file(draw, draw.choice(folders)).relative_to(tmp_path / "left")
        flip(path, draw.randrange(8 * path.stat().st_size))
        convert(job(tmp_path / "root"))
        assert contents(tmp_path / "root") == wanted, path
        shutil.rmtree(tmp_path / "root")


def test_a_shard_cut_at_every_byte_is_found(cache: Records) -> None:
    shard = cache.manifest.shards[0]
    path = path_of(cache, shard)
    assert 1000 < shard.bytes < 10_000
    for cut in reversed(range(shard.bytes)):
        os.truncate(path, cut)
        with pytest.raises(StorageError, match=f"the shard has {cut} bytes instead of {shard.bytes}") as caught:
            open_verified(cache, shard)
        assert caught.value.where == str(path) and caught.value.exit_code == 6


def fitted(records: Records, number: int) -> Records:
    """The cache with a manifest that was made to match what a shard has become."""
    shards = list(records.manifest.shards)
    content = path_of(records, shards[number]).read_bytes()
    shards[number] = dataclasses.replace(shards[number], bytes=len(content), crc32c=google_crc32c.value(content))
    return Records(dataclasses.replace(records.manifest, shards=tuple(shards)), records.storage)


def test_a_shard_cut_at_any_byte_is_found_by_its_framing_too(tmp_path: Path) -> None:
    """A shard cut off, with a manifest that matches the rest; samples 0 and 8 are its two."""
    records = converted(tmp_path)
    path = path_of(records, records.manifest.shards[0])
    for cut in reversed(range(path.stat().st_size)):
        os.truncate(path, cut)
        with pytest.raises(StorageError, match="damaged") as caught:
            list(read_examples(fitted(records, 0), 0, 9))
        assert caught.value.where.startswith(str(path))


def zeros(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0" * 16)


def doubled(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


def empty(path: Path, other: Path) -> None:
    path.write_bytes(b"")


def swapped(path: Path, other: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


@pytest.mark.parametrize("damage", [zeros, doubled, empty, swapped])
@pytest.mark.parametrize("number", [0, 9, 39])
def test_a_shard_that_is_not_the_one_that_was_written_is_found(
    cache: Records, damage: Callable[[Path, Path], None], number: int
) -> None:
    shards = cache.manifest.shards
    path = path_of(cache, shards[number])
    damage(path, path_of(cache, shards[number - 8]))
    with pytest.raises(StorageError, match="damaged cache: the shard has") as caught:
        list(read_examples(cache))
    named = {str(path), str(path_of(cache, shards[number - 8]))} if damage is swapped else {str(path)}
    assert caught.value.where in named and caught.value.exit_code == 6


def test_a_shard_of_another_cache_with_the_same_name_is_found(tmp_path: Path) -> None:
    """Of the same size too: the other cache has other labels."""

    def relabelled(n: int) -> Sample:
        sample = Groups()(n)
        return dataclasses.replace(sample, labels=(2.0, *sample.labels[1:]))

    records, other = converted(tmp_path / "one"), converted(tmp_path / "other", sampler=relabelled)
    shards = [path_of(each, each.manifest.shards[5]) for each in (records, other)]
    assert shards[0].name == shards[1].name and shards[0].stat().st_size == shards[1].stat().st_size
    shutil.copyfile(shards[1], shards[0])
    with pytest.raises(StorageError, match="the shard has another checksum") as caught:
        list(read_examples(records))
    assert caught.value.where == str(shards[0])


@pytest.mark.parametrize("length", [2**30, 2**40, 2**64 - 1])
def test_an_enormous_record_takes_no_memory(cache: Records, length: int) -> None:
    """Its length has the right checksum, and the manifest was made to match: only the framing can tell."""
    path = path_of(cache, cache.manifest.shards[0])
    header, first = struct.pack("<Q", length), next(read_records(path))
    path.write_bytes(frame(first) + header + struct.pack("<I", masked_crc(header)) + b"\0" * 4000)
    spoilt, root = fitted(cache, 0).manifest, Path(cache.storage.uri)
    (root / spoilt.location / "manifest.json").write_bytes(spoilt.dump())
    command = [sys.executable, "-m", "tests.faults.reading", str(root), spoilt.location]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 6 and int(done.stdout) < 300
    assert f"{path}:1 (byte {len(frame(first))}): " in done.stderr
    assert f"the record claims {length} bytes" in done.stderr and "Traceback" not in done.stderr
