"""Conversions that were interrupted: what is done is kept if it is whole, and done again if it is not."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from record_fakes import Groups, Stopped, WordExtractor, Writer, converted, inodes, job, tree

from rankcli.errors import StorageError
from rankcli.records import tokens
from rankcli.records.convert import convert
from rankcli.records.lookup import find
from rankcli.records.stripes import ranges
from rankcli.shapes import Encoded, Record, Sample
from rankcli.storage.local import LocalStorage

pytestmark = pytest.mark.faults
NAMES = [shard.name for shard in ranges(0, 23, 2)]


class Drawn(Groups):
    """A sampler that fails: what it would draw has been drawn already."""

    def __call__(self, n: int) -> Sample:
        raise AssertionError(f"sample {n} is drawn again")


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a conversion that was interrupted when four of its shards were done; few ids in a file."""
    monkeypatch.setattr(tokens, "TEXTS_PER_PART", 8)
    Writer(monkeypatch, stop_after=4)
    with pytest.raises(Stopped):
        convert(job(tmp_path / "cut"))
    Writer(monkeypatch)
    converted(tmp_path / "whole")
    return tmp_path / "cut"


def finished(root: Path) -> bool:
    """True if a cache exists, equal to one made without interruption, and nothing beside it."""
    return tree(root) == tree(root.parent / "whole") and not any((root / "tmp.work").iterdir())


def work(root: Path) -> Path:
    """The work folder of the only conversion in progress."""
    (folder,) = (root / "tmp.work").iterdir()
    return folder


def test_defect_15_a_partial_cache_is_never_accepted(interrupted: Path) -> None:
    storage = LocalStorage(interrupted)
    assert find(storage, "c0ffee", 1) is None
    assert sorted(storage.list("c0ffee/1")) == sorted([*NAMES[:4], "parts"])
    assert storage.list("c0ffee/1/parts") == sorted(f"{name}.json" for name in NAMES[:4])


def test_what_is_done_is_not_done_again(
    interrupted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, writer, extractor = inodes(interrupted / "c0ffee/1"), Writer(monkeypatch), WordExtractor()
    convert(job(interrupted, extractor=extractor, sampler=Drawn()))
    assert writer.written == NAMES[4:] and extractor.seen == [] and finished(interrupted)
    after = inodes(interrupted / "c0ffee/1")
    assert {name: after[name] for name in before} == before and len(before) == 4
    assert "4 of 15 shards have been converted already" in capsys.readouterr().err


@pytest.mark.parametrize("stop_after", range(len(NAMES) + 1))
def test_it_goes_on_after_any_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int) -> None:
    converted(tmp_path / "whole")
    Writer(monkeypatch, stop_after)
    if stop_after < len(NAMES):
        with pytest.raises(Stopped):
            convert(job(tmp_path / "cut"))
    writer = Writer(monkeypatch)
    convert(job(tmp_path / "cut"))
    assert finished(tmp_path / "cut")
    assert writer.written == (NAMES[stop_after:] if stop_after < len(NAMES) else NAMES)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def remove(path: Path) -> None:
    path.unlink()


damages = pytest.mark.parametrize("damage", [cut, flip, empty, remove])


class Stopping(WordExtractor):
    """Stops when it has tokenised so many texts."""

    def encode(self, stream: str, records: Sequence[Record]) -> Encoded:
        if len(self.seen) >= 16 + 23:
            raise Stopped
        return super().encode(stream, records)


@damages
@pytest.mark.parametrize("kind", ["doc-0-000001", "doc-ids-000000", "doc-lengths-000001"])
def test_a_damaged_part_of_the_second_step_alone_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None], kind: str
) -> None:
    monkeypatch.setattr(tokens, "TEXTS_PER_PART", 8)
    converted(tmp_path / "whole")
    with pytest.raises(Stopped):
        convert(job(tmp_path / "cut", extractor=Stopping()))
    parts = work(tmp_path / "cut") / "parts"
    assert len(list(parts.iterdir())) == 2 * 3
    damage(parts / kind)
    extractor = WordExtractor()
    convert(job(tmp_path / "cut", extractor=extractor, sampler=Drawn()))
    assert len(extractor.seen) == 69 - 8 and finished(tmp_path / "cut")


@damages
@pytest.mark.parametrize(("kind", "again"), [("query-0", 23), ("doc-0", 69), ("doc-ids", 69), ("doc-lengths", 69)])
def test_a_damaged_file_of_the_second_step_is_made_again(
    interrupted: Path, damage: Callable[[Path], None], kind: str, again: int
) -> None:
    damage(work(interrupted) / "texts" / kind)
    extractor = WordExtractor()
    convert(job(interrupted, extractor=extractor, sampler=Drawn()))
    assert len(extractor.seen) == again and finished(interrupted)


@pytest.mark.parametrize("damage", [cut, flip, empty])
@pytest.mark.parametrize("kind", ["groups-shard-01-00000002-00000003.tfrecord", "labels-" + NAMES[0], "wanted-doc"])
def test_a_damaged_file_of_the_first_step_is_found_and_the_step_taken_again(
    interrupted: Path, damage: Callable[[Path], None], kind: str
) -> None:
    damage(work(interrupted) / "numbers" / kind)
    convert(job(interrupted))
    assert finished(interrupted)


@damages
def test_a_shard_with_a_damaged_receipt_is_written_again(
    interrupted: Path,
    damage: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(interrupted / f"c0ffee/1/parts/{NAMES[2]}.json")
    writer = Writer(monkeypatch)
    convert(job(interrupted))
    assert writer.written == [NAMES[2], *NAMES[4:]] and finished(interrupted)
    said = f"c0ffee/1/parts/{NAMES[2]}.json: damaged; the shard is written again"
    assert (said in capsys.readouterr().err) == (damage is not remove)


@damages
def test_a_damaged_shard_with_a_receipt_is_written_again(
    interrupted: Path, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(interrupted / "c0ffee/1" / NAMES[2])
    writer = Writer(monkeypatch)
    convert(job(interrupted))
    assert writer.written == [NAMES[2], *NAMES[4:]] and finished(interrupted)


def test_a_receipt_of_another_shard_does_not_count(interrupted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = interrupted / "c0ffee/1/parts"
    (parts / f"{NAMES[2]}.json").write_bytes((parts / f"{NAMES[1]}.json").read_bytes())
    writer = Writer(monkeypatch)
    convert(job(interrupted))
    assert writer.written == [NAMES[2], *NAMES[4:]] and finished(interrupted)


@pytest.mark.parametrize(
    ("place", "written"),
    [("/numbers/groups-", 0), ("/parts/doc-lengths-", 0), ("/parts/doc-0", 0), (f"/{NAMES[2]}", 2), ("/cut/tmp.", 0)],
)
def test_a_full_disk_ends_with_a_storage_error_and_what_was_done_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, written: int
) -> None:
    """The disk is full when a file of the first step is written, of the second, a shard, or the first receipt."""
    converted(tmp_path / "whole")

    def full(descriptor: int) -> None:
        if place in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")

    def write_bytes(path: Path, data: bytes) -> int:
        if place in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device: .*bytes are free") as caught:
        convert(job(tmp_path / "cut"))
    assert caught.value.where.startswith(str(tmp_path / "cut")) and caught.value.exit_code == 6
    monkeypatch.setattr(Path, "write_bytes", write)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    writer = Writer(monkeypatch)
    convert(job(tmp_path / "cut"))
    assert writer.written == NAMES[written:] and finished(tmp_path / "cut")
