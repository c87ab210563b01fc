"""Conversion: what a cache holds, that it does not depend on how it was made, and that it is whole or absent."""

from __future__ import annotations

import collections
import errno
import multiprocessing
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_fakes import QUERIES, Groups, WordExtractor, converted, document, end_at, expected, job, same

from rankcli.backend import tf
from rankcli.errors import DataError, StorageError
from rankcli.records import convert as conversion
from rankcli.records.convert import convert
from rankcli.records.manifest import find, load
from rankcli.records.reader import read_examples
from rankcli.records.workers import workers
from rankcli.shapes import Sample
from rankcli.storage.local import LocalStorage

# Samples and checksum of each shard: what caches that people have are made of.
GOLDEN = [(5, "cef33ace"), (5, "8c03408c"), (5, "ddf75c4e"), (5, "c3540f71"), (3, "96df2f06")]


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_cache_holds_the_samples_in_order(tmp_path: Path) -> None:
    manifest, storage = converted(tmp_path)
    examples = list(read_examples(manifest, storage))
    assert len(examples) == 23 and all(same(example, expected(n)) for n, example in enumerate(examples))
    assert [(shard.samples, f"{shard.crc32c:08x}") for shard in manifest.shards] == GOLDEN
    assert sorted(tree(tmp_path)) == [
        "c0ffee/23/manifest.json",
        *(f"c0ffee/23/shard-{number:05d}.tfrecord" for number in range(5)),
    ]


def test_the_share_of_tokens_cut_is_counted(tmp_path: Path) -> None:
    manifest, _ = converted(tmp_path)
    total = sum(len(document(docid).split()) for n in range(23) for docid in Groups()(n).docids)
    kept = sum(len(doc) for n in range(23) for doc in expected(n).docs)
    assert (manifest.tokens_total, manifest.tokens_kept) == (total, kept)
    assert manifest.share_cut == pytest.approx(1 - kept / total) and 0 < manifest.share_cut < 0.2


def test_the_bytes_do_not_depend_on_the_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tf.__version__ and "tensorflow" in sys.modules  # the extractor fails in a process that has it
    monkeypatch.setattr(conversion, "TEXTS_PER_PROCESS", 1)
    monkeypatch.setattr(conversion, "TEXTS_PER_TASK", 7)
    processes = {"one": 1, "two": 2}
    for name, count in processes.items():
        convert(job(tmp_path / name), count)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


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

    manifest, storage = converted(tmp_path, sampler=graded, samples=4)
    labels = [example.labels.tolist() for example in read_examples(manifest, storage)]
    assert labels == [[1.5, 0.0], [0.0, 3.0]] * 2
    assert all(example.labels.dtype == np.float32 for example in read_examples(manifest, storage))


def test_groups_may_differ_in_size_and_have_no_document(tmp_path: Path) -> None:
    def growing(n: int) -> Sample:
        return Sample("q3", tuple(f"d{k}" for k in range(n)), (0.0,) * n)

    manifest, storage = converted(tmp_path, sampler=growing, samples=6)
    assert [len(example.docids) for example in read_examples(manifest, storage)] == [0, 1, 2, 3, 4, 5]


def test_no_samples_make_an_empty_cache(tmp_path: Path) -> None:
    manifest, storage = converted(tmp_path, samples=0)
    assert list(read_examples(manifest, storage)) == [] and manifest.share_cut == 0
    assert find(storage, "c0ffee", 0) == manifest


def test_a_query_without_text_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="query 'q4' has no text"):
        convert(job(tmp_path, queries={qid: text for qid, text in QUERIES.items() if qid != "q4"}))
    assert tree(tmp_path) == {}


def test_tokens_outside_the_vocabulary_are_never_stored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="outside its vocabulary of 200"):
        convert(job(tmp_path, extractor=WordExtractor(vocab_size=200)))


def test_converting_again_takes_the_cache_that_is_there_unless_it_must_be_fresh(tmp_path: Path) -> None:
    first, storage = converted(tmp_path)
    assert convert(job(tmp_path)) == first and storage.list("c0ffee") == ["23"]
    fresh = convert(job(tmp_path, fresh=True))
    assert (fresh.location, fresh.shards) == ("c0ffee/23-2", first.shards)
    assert storage.list("c0ffee") == ["23", "23-2"] and find(storage, "c0ffee", 23) == fresh


def test_two_at_once_end_with_one_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file = conversion.write_file

    def overtaken(path: Path, data: bytes) -> bool:
        monkeypatch.setattr(conversion, "write_file", write_file)
        convert(job(tmp_path))
        return write_file(path, data)

    monkeypatch.setattr(conversion, "write_file", overtaken)
    assert convert(job(tmp_path)) == find(LocalStorage(tmp_path), "c0ffee", 23)
    assert os.listdir(tmp_path) == ["c0ffee"] and os.listdir(tmp_path / "c0ffee") == ["23"]


@pytest.mark.faults
def test_defect_15_a_partial_cache_is_never_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path, data: bytes) -> bool:
        shutil.copytree(path.parent.parent, tmp_path / "tmp.left")  # as a process that is killed here leaves it
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "write_file", killed)
    with pytest.raises(KeyboardInterrupt):
        convert(job(tmp_path))
    storage = LocalStorage(tmp_path)
    assert len(list((tmp_path / "tmp.left" / "cache").iterdir())) == 5
    assert find(storage, "c0ffee", 23) is None and storage.list() == []
    monkeypatch.undo()
    assert convert(job(tmp_path)) == find(storage, "c0ffee", 23)
    assert os.listdir(tmp_path) == ["c0ffee"]


@pytest.mark.faults
def test_shards_without_a_manifest_are_no_cache_and_do_not_stand_in_the_way(tmp_path: Path) -> None:
    manifest, storage = converted(tmp_path)
    (tmp_path / manifest.location / "manifest.json").unlink()
    assert find(storage, "c0ffee", 23) is None and load(storage, manifest.location) is None
    again = convert(job(tmp_path))
    assert again.location == "c0ffee/23-2" and find(storage, "c0ffee", 23) == again


@pytest.mark.faults
def test_a_full_disk_ends_with_a_storage_error_and_nothing_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        convert(job(tmp_path))
    assert "shard-00002.tfrecord" in caught.value.where and os.listdir(tmp_path) == []


@pytest.mark.faults
def test_a_worker_that_is_killed_ends_the_conversion_with_an_error() -> None:
    with pytest.raises(StorageError, match="was killed from outside"), workers(2, processes=2) as pool:
        list(pool.map(end_at, range(9)))


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
