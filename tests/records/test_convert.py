"""Conversion: what a cache holds, that it does not depend on how it was made, and that it is whole or absent."""

from __future__ import annotations

import collections
import errno
import multiprocessing
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_fakes import QUERIES, Groups, WordExtractor, converted, document, end_at, expected, job, same, tree

from rankcli.backend import tf
from rankcli.errors import DataError, StorageError
from rankcli.records import steps, tokens
from rankcli.records.convert import convert
from rankcli.records.interleave import read_examples
from rankcli.records.lookup import find
from rankcli.records.stripes import ranges
from rankcli.records.texts import InMemory
from rankcli.records.workers import workers
from rankcli.shapes import Sample

# Name, checksum and bytes of each shard: what caches that people have are made of.
GOLDEN = [
    ("shard-00-00000000-00000002.tfrecord", "39a36b67", 438),
    ("shard-01-00000000-00000002.tfrecord", "657ce2d5", 442),
    ("shard-02-00000000-00000002.tfrecord", "1d3bd9cb", 475),
    ("shard-03-00000000-00000002.tfrecord", "156794f1", 497),
    ("shard-04-00000000-00000002.tfrecord", "547c140d", 427),
    ("shard-05-00000000-00000002.tfrecord", "8e6f56d2", 413),
    ("shard-06-00000000-00000002.tfrecord", "dbdb8805", 447),
    ("shard-07-00000000-00000002.tfrecord", "b41f41e5", 488),
    ("shard-00-00000002-00000003.tfrecord", "9bf4f8ba", 224),
    ("shard-01-00000002-00000003.tfrecord", "19445e00", 242),
    ("shard-02-00000002-00000003.tfrecord", "6f046925", 255),
    ("shard-03-00000002-00000003.tfrecord", "78c70c72", 277),
    ("shard-04-00000002-00000003.tfrecord", "655792b0", 291),
    ("shard-05-00000002-00000003.tfrecord", "08deebfa", 287),
    ("shard-06-00000002-00000003.tfrecord", "71a25991", 287),
]


def test_a_cache_holds_the_samples_in_order(tmp_path: Path) -> None:
    records = converted(tmp_path)
    examples = list(read_examples(records))
    assert len(examples) == 23 and all(same(example, expected(n)) for n, example in enumerate(examples))
    assert [(shard.name, f"{shard.crc32c:08x}", shard.bytes) for shard in records.manifest.shards] == GOLDEN
    assert sorted(tree(tmp_path)) == sorted(["c0ffee/1/manifest.json", *(f"c0ffee/1/{name}" for name, _, _ in GOLDEN)])


def test_the_share_of_tokens_cut_is_counted(tmp_path: Path) -> None:
    manifest = converted(tmp_path).manifest
    total = sum(len(document(docid).split()) for n in range(23) for docid in Groups()(n).docids)
    kept = sum(len(doc) for n in range(23) for doc in expected(n).docs["doc"])
    assert (manifest.documents, manifest.tokens_total, manifest.tokens_kept) == (3 * 23, total, kept)
    assert manifest.share_cut == pytest.approx(1 - kept / total) and 0 < manifest.share_cut < 0.2


def test_the_bytes_do_not_depend_on_the_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tf.__version__ and "tensorflow" in sys.modules  # the extractor fails in a process that has it
    monkeypatch.setattr(steps, "TEXTS_PER_PROCESS", 1)
    for name, count in {"one": 1, "two": 2}.items():
        convert(job(tmp_path / name), count)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_the_bytes_do_not_depend_on_how_ids_are_spread_over_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(job(tmp_path / "one"))
    monkeypatch.setattr(tokens, "TEXTS_PER_PART", 7)
    convert(job(tmp_path / "many"))
    assert tree(tmp_path / "one") == tree(tmp_path / "many")


def test_small_conversions_start_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(multiprocessing, "get_context", refuse)
    convert(job(tmp_path), processes=8)


def test_each_text_is_tokenised_once(tmp_path: Path) -> None:
    extractor = WordExtractor()
    convert(job(tmp_path, extractor=extractor, samples=150))  # every query three times, most documents twice
    counts = collections.Counter(extractor.seen)
    assert set(counts) == {*QUERIES.values(), *(document(f"d{n}") for n in range(200))}
    assert set(counts.values()) == {1}


def test_defect_18_labels_are_stored_and_read_back(tmp_path: Path) -> None:
    def graded(n: int) -> Sample:
        return Sample("q1", ("d1", "d2"), (0.0, 3.0) if n % 2 else (1.5, 0.0))

    records = converted(tmp_path, sampler=graded, samples=4)
    examples = list(read_examples(records))
    assert [example.labels.tolist() for example in examples] == [[1.5, 0.0], [0.0, 3.0]] * 2
    assert all(example.labels.dtype == np.float32 for example in examples)


def test_groups_may_differ_in_size_and_have_no_document(tmp_path: Path) -> None:
    def growing(n: int) -> Sample:
        return Sample("q3", tuple(f"d{k}" for k in range(n)), (0.0,) * n)

    records = converted(tmp_path, sampler=growing, samples=6)
    assert [len(example.docids) for example in read_examples(records)] == [0, 1, 2, 3, 4, 5]
    assert records.manifest.documents == 15


def test_no_samples_make_an_empty_cache(tmp_path: Path) -> None:
    records = converted(tmp_path, samples=0)
    assert list(read_examples(records)) == [] and records.manifest.share_cut == 0
    assert find(records.storage, "c0ffee", 0) == records.manifest


@pytest.mark.parametrize(
    ("vocab_size", "group_size", "per_shard"),
    [
        (1000, 3, 22598),  # 3 documents of at most 27 tokens of 2 bytes, and 64 more each: 354 bytes of 8 million
        (70_000, 3, 15503),  # tokens of 4 bytes
        (1000, 0, 67796),  # a group is at least one document
    ],
)
def test_shards_are_as_large_as_surely_fits(tmp_path: Path, vocab_size: int, group_size: int, per_shard: int) -> None:
    extractor = WordExtractor(vocab_size=vocab_size)
    records = converted(tmp_path, samples=1, samples_per_shard=0, extractor=extractor, group_size=group_size)
    assert records.manifest.samples_per_shard == per_shard


def test_what_a_cache_can_be_made_again_from_is_kept_beside_it(tmp_path: Path) -> None:
    converted(tmp_path, source="data: {}\n")
    assert tree(tmp_path)["c0ffee/1/source.yaml"] == b"data: {}\n"


def test_a_query_without_text_is_a_data_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="query 'q4' has no text"):
        convert(job(tmp_path, queries=InMemory({qid: text for qid, text in QUERIES.items() if qid != "q4"})))
    assert tree(tmp_path) == {}


def test_tokens_outside_the_vocabulary_are_never_stored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="outside its vocabulary of 200"):
        convert(job(tmp_path, extractor=WordExtractor(vocab_size=200)))
    assert [name for name in tree(tmp_path) if name.startswith("c0ffee/1")] == []


def test_converting_again_takes_the_cache_that_is_there_unless_it_must_be_fresh(tmp_path: Path) -> None:
    records = converted(tmp_path)
    first, storage = records.manifest, records.storage
    assert convert(job(tmp_path)) == first and storage.list("c0ffee") == ["1"]
    fresh = convert(job(tmp_path, fresh=True))
    assert (fresh.location, fresh.shards) == ("c0ffee/2", first.shards)
    assert storage.list("c0ffee") == ["1", "2"] and find(storage, "c0ffee", 23) == fresh
    assert convert(job(tmp_path, fresh=True)).location == "c0ffee/3"


@pytest.mark.faults
def test_shards_without_a_manifest_are_no_cache_and_are_taken_where_they_are_whole(tmp_path: Path) -> None:
    records = converted(tmp_path)
    whole = tree(tmp_path)
    folder = tmp_path / records.manifest.location
    (folder / "manifest.json").unlink()
    (folder / records.manifest.shards[3].name).write_bytes(b"half")
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    assert find(records.storage, "c0ffee", 23) is None
    assert convert(job(tmp_path)).location == "c0ffee/1" and tree(tmp_path) == whole
    changed = {path.name for path in folder.iterdir() if before.get(path.name) != path.stat().st_ino}
    assert changed == {"manifest.json", records.manifest.shards[3].name}


@pytest.mark.faults
def test_a_damaged_manifest_makes_way_for_the_next_generation(tmp_path: Path) -> None:
    records = converted(tmp_path)
    (tmp_path / "c0ffee/1/manifest.json").write_bytes(records.manifest.dump()[:-9])
    again = converted(tmp_path).manifest
    assert (again.location, again.shards) == ("c0ffee/2", records.manifest.shards)


@pytest.mark.faults
def test_what_dead_conversions_of_the_same_cache_left_goes_with_the_next(tmp_path: Path) -> None:
    theirs = {name: tmp_path / "tmp.work" / f"{name}-0123abcd" for name in ("c0ffee", "other")}
    for folder in theirs.values():
        folder.mkdir(parents=True)
        (folder / "lock").touch()
    convert(job(tmp_path))
    assert [name for name, folder in theirs.items() if folder.exists()] == ["other"]
    shutil.rmtree(theirs["other"])
    assert not any((tmp_path / "tmp.work").iterdir())


@pytest.mark.faults
def test_a_worker_that_is_killed_ends_the_conversion_with_an_error() -> None:
    with pytest.raises(StorageError, match="was killed from outside"), workers(2, processes=2) as pool:
        list(pool.map(end_at, range(9)))


@pytest.mark.faults
def test_processes_that_cannot_be_started_are_an_error_that_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the place of their semaphores is full."""

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("rankcli.records.workers.ProcessPoolExecutor", full)
    with pytest.raises(StorageError, match="cannot be started: No space left on device") as caught, workers(2, 2):
        pass
    assert (caught.value.exit_code, caught.value.where) == (6, "/dev/shm")


def test_results_come_in_the_order_of_the_tasks_taken_as_needed() -> None:
    taken = []

    def tasks() -> Any:
        for task in range(50):
            taken.append(task)
            yield task

    with workers(-1, processes=2) as pool:
        results = pool.map(end_at, tasks())
        assert next(results) == 0 and len(taken) <= 4
        assert list(results) == list(range(1, 50))


@pytest.mark.parametrize("samples", [1, 8, 9, 23])
def test_the_manifest_lists_the_shards_in_the_order_of_their_first_samples(tmp_path: Path, samples: int) -> None:
    manifest = converted(tmp_path, samples=samples).manifest
    assert [shard.range for shard in manifest.shards] == ranges(0, samples, 2)
