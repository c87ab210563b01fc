"""TFRecord framing: the bytes that TensorFlow writes, and damage that it does not see."""

from __future__ import annotations

import struct
from contextlib import closing
from pathlib import Path

import google_crc32c
import pytest

from rankcli.backend import tf
from rankcli.errors import StorageError
from rankcli.records.tfrecord import Written, frame, masked_crc, open_shard, read_records, write_records

RECORDS = [b"", b"one", bytes(range(256)) * 20, b"last"]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    write_records(tmp_path / "shard", RECORDS)
    return tmp_path / "shard"


def test_files_are_those_of_tensorflow_to_the_byte(shard: Path, tmp_path: Path) -> None:
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in RECORDS:
            writer.write(record)
    assert shard.read_bytes() == (tmp_path / "theirs").read_bytes()
    assert list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator()) == RECORDS
    assert list(read_records(tmp_path / "theirs")) == RECORDS


def test_writing_counts_records_and_bytes_and_sums_all_of_them(tmp_path: Path) -> None:
    written = write_records(tmp_path / "shard", iter(RECORDS))
    content = (tmp_path / "shard").read_bytes()
    assert written == Written(4, len(content), google_crc32c.value(content))
    with closing(open_shard(tmp_path / "shard")) as shard:
        assert (shard.size, shard.crc32c) == (len(content), google_crc32c.value(content))
    assert write_records(tmp_path / "none", []) == Written(0, 0, 0)


def test_reading_starts_at_any_record(shard: Path) -> None:
    with closing(open_shard(shard)) as opened:
        assert [list(opened.read(start)) for start in range(6)] == [RECORDS[start:] for start in range(6)]


def test_an_open_shard_stays_what_it_was_when_its_name_is_given_to_another(shard: Path, tmp_path: Path) -> None:
    with closing(open_shard(shard, "the shard")) as opened:
        write_records(tmp_path / "other", [b"other"])
        (tmp_path / "other").replace(shard)
        assert list(opened.read()) == RECORDS and opened.where == "the shard"
    assert list(read_records(shard)) == [b"other"]


@pytest.mark.faults
def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    content = b"".join(map(frame, [b"first", b"second"]))
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        (tmp_path / "shard").write_bytes(damaged)
        with pytest.raises(StorageError, match="damaged TFRecord") as caught:
            list(read_records(tmp_path / "shard"))
        record, offset = (0, 0) if position < len(frame(b"first")) else (1, len(frame(b"first")))
        assert caught.value.where == f"{tmp_path / 'shard'}:{record} (byte {offset})"


@pytest.mark.faults
def test_a_cut_inside_a_record_header_included_is_found(tmp_path: Path) -> None:
    content = b"".join(map(frame, [b"first", b"second"]))
    ends = {0, len(frame(b"first"))}  # a manifest finds these
    for cut in sorted(set(range(len(content))) - ends):
        (tmp_path / "shard").write_bytes(content[:cut])
        with pytest.raises(StorageError, match="damaged TFRecord"):
            list(read_records(tmp_path / "shard"))


@pytest.mark.faults
def test_an_enormous_length_with_a_right_checksum_is_not_believed(tmp_path: Path) -> None:
    for length in (2**30, 2**40, 2**64 - 1):
        header = struct.pack("<Q", length)
        (tmp_path / "shard").write_bytes(frame(b"fine") + header + struct.pack("<I", masked_crc(header)) + b"x" * 50)
        with pytest.raises(StorageError, match=f"claims {length} bytes, 50 are left") as caught:
            list(read_records(tmp_path / "shard"))
        assert ":1 (byte 20)" in caught.value.where


def test_an_existing_file_is_never_written_over(shard: Path) -> None:
    with pytest.raises(StorageError, match="exists"):
        write_records(shard, [b"other"])
    assert list(read_records(shard)) == RECORDS
