"""Caches read back: seeking, damage, training batches, batches for prediction."""

from __future__ import annotations

import dataclasses
import errno
import gc
import itertools
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_fakes import Groups, WordExtractor, converted, expected, same

from rankcli.errors import StorageError
from rankcli.extractors.base import Extractor
from rankcli.records import interleave, reader
from rankcli.records.codec import Codec
from rankcli.records.interleave import Records, read_examples
from rankcli.records.prefetch import prefetch
from rankcli.records.reader import prediction_batches, training_batches
from rankcli.records.tfrecord import read_records, write_records
from rankcli.shapes import Batch, Field, Layout, Sample
from rankcli.storage.disk import guard

EXTRACTOR: Extractor = WordExtractor()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return converted(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def own(tmp_path: Path) -> Records:
    """A cache to damage."""
    return converted(tmp_path, samples=20)


def path_of(records: Records, number: int) -> Path:
    """The path of a shard."""
    return Path(records.storage.uri) / records.manifest.location / records.manifest.shards[number].name


def tokens_of(layout: Layout) -> list[list[int]]:
    """The token ids of each sequence."""
    ids, sequence = layout.ids.reshape(-1), layout.sequence.reshape(-1)
    for n, row in enumerate(layout.places):
        assert (sequence[row[row >= 0]] == n).all()
    assert (layout.places >= 0).sum() == (sequence >= 0).sum()
    return [ids[row[row >= 0]].tolist() for row in layout.places]


def read_pairs(field: Field) -> dict[int, list[list[int]]]:
    """The token ids of the sequences of each owner."""
    found: dict[int, list[list[int]]] = {}
    for tokens, owner in zip(tokens_of(field.layout), field.owner, strict=True):
        assert (owner == -1) == (tokens == [])
        if tokens:
            found.setdefault(int(owner), []).append(tokens)
    return found


def arrays(item: Any) -> list[np.ndarray]:
    """All arrays within a batch."""
    if isinstance(item, np.ndarray):
        return [item]
    return [array for part in (item.values() if isinstance(item, dict) else item) for array in arrays(part)]


def equal(one: Batch, other: Batch) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


def test_reading_starts_and_stops_anywhere(cache: Records) -> None:
    for start, stop in itertools.combinations_with_replacement(range(0, 24, 3), 2):
        examples = list(read_examples(cache, start, stop))
        assert len(examples) == stop - start
        assert all(same(example, expected(n)) for n, example in zip(range(start, stop), examples, strict=True))
    with pytest.raises(ValueError, match="samples 3..24 asked of a cache of 23"):
        list(read_examples(cache, 3, 24))


@pytest.mark.faults
def test_a_shard_cut_anywhere_is_found(own: Records) -> None:
    path = path_of(own, 1)
    content = path.read_bytes()
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        with pytest.raises(StorageError) as caught:
            list(read_examples(own))
        assert caught.value.where == str(path) and f"{cut} bytes instead of {len(content)}" in str(caught.value)


@pytest.mark.faults
def test_flipped_bits_doubled_swapped_and_missing_shards_are_found(own: Records) -> None:
    first, second = path_of(own, 0), path_of(own, 1)
    content, other = first.read_bytes(), second.read_bytes()
    flipped = [bytearray(content) for _ in range(40)]
    for n, damaged in enumerate(flipped):
        damaged[n * len(content) // 40] ^= 1 << n % 8
    for damaged in (*flipped, content + content, content + b"\0", b"", other):
        first.write_bytes(damaged)
        with pytest.raises(StorageError, match="damaged cache: the shard has") as caught:
            next(read_examples(own))
        assert caught.value.exit_code == 6 and "shard-00-00000000-00000002.tfrecord" in str(caught.value)
    first.unlink()
    with pytest.raises(StorageError, match="shard-00-00000000-00000002.tfrecord"):
        next(read_examples(own))


@pytest.mark.faults
def test_only_the_shards_that_are_read_must_be_whole(own: Records) -> None:
    path_of(own, 0).write_bytes(b"")
    assert [example.docids[0] for example in read_examples(own, 1, 8)] == [f"d{3 * n}" for n in range(1, 8)]


@pytest.mark.faults
def test_a_damaged_shard_is_named_before_its_first_example_is_used(own: Records) -> None:
    """Its samples are 8 and on; steps of 2 before them come, whatever was opened ahead."""
    path_of(own, 8).write_bytes(b"x" * own.manifest.shards[8].bytes)
    batches = training_batches(own, EXTRACTOR, batch=2, steps=10)
    assert [batch.labels.tolist() for (batch,) in itertools.islice(batches, 8)] == [[[1, 0, 0]] * 2] * 8
    with pytest.raises(StorageError, match="another checksum") as caught:
        next(batches)
    assert caught.value.where.endswith("shard-00-00000002-00000003.tfrecord")


@pytest.mark.faults
def test_shards_with_fewer_records_than_their_name_says_are_found(own: Records) -> None:
    """Even if the manifest was made to fit: samples must not take each other's places."""
    path, entry = path_of(own, 0), own.manifest.shards[0]
    (record, _) = read_records(path)
    path.unlink()
    written = write_records(path, [record])
    entry = dataclasses.replace(entry, bytes=written.bytes, crc32c=written.crc32c)
    manifest = dataclasses.replace(own.manifest, shards=(entry, *own.manifest.shards[1:]))
    with pytest.raises(StorageError, match="the shard has fewer than 2 records") as caught:
        list(read_examples(Records(manifest, own.storage)))
    assert caught.value.where == str(path)


def test_shards_are_opened_ahead_but_not_all_at_once(tmp_path: Path) -> None:
    """Of 40 shards 16 are opened or open when the first example comes; and all are closed at the end."""
    records = converted(tmp_path, samples=40, samples_per_shard=1)
    gc.collect()  # files that other tests have left open
    before = len(os.listdir("/proc/self/fd"))
    examples = read_examples(records)
    next(examples)
    assert before < len(os.listdir("/proc/self/fd")) <= before + 17
    examples.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_defect_15_samples_are_read_in_numeric_order(tmp_path: Path) -> None:
    records = converted(tmp_path, samples=30, samples_per_shard=1)
    assert [example.docids[0] for example in read_examples(records)] == [f"d{3 * n}" for n in range(30)]


def test_a_training_batch_is_its_samples_laid_out(cache: Records) -> None:
    (batch,) = list(training_batches(cache, EXTRACTOR, batch=4, steps=5))[2]
    examples = [expected(n) for n in range(8, 12)]
    assert batch.labels.tolist() == [[1, 0, 0]] * 4 and batch.doc_mask.all()
    sequences = [EXTRACTOR.extract(example) for example in examples]
    wanted = {3 * b + s.doc: [s.ids.tolist()] for b, made in enumerate(sequences) for s in made["pair"]}
    assert read_pairs(batch.fields["pair"]) == wanted
    assert batch.fields["query"].owner.tolist() == [0, 1, 2, 3]
    lengths = [len(example.queries["query"]) for example in examples]
    assert (batch.fields["query"].layout.places >= 0).sum(axis=1).tolist() == lengths
    assert batch.fields["pair"].layout.ids.dtype == np.int32 and batch.columns == {}


def test_training_goes_on_at_any_step(cache: Records) -> None:
    whole = list(training_batches(cache, EXTRACTOR, batch=4, steps=5))
    for start in range(6):
        tail = list(training_batches(cache, EXTRACTOR, batch=4, start_step=start, steps=5))
        assert len(tail) == 5 - start and all(map(equal, (b for (b,) in tail), (b for (b,) in whole[start:])))


@pytest.mark.parametrize("static", [False, True])
def test_replicas_share_a_batch_out_in_equal_shapes(cache: Records, static: bool) -> None:
    extractor = WordExtractor(passage=8)
    single = training_batches(cache, extractor, batch=6, steps=3, static=static)
    several = training_batches(cache, extractor, batch=6, replicas=3, steps=3, static=static)
    for (one,), parts in zip(single, several, strict=True):
        assert all(np.array_equal(part.labels, one.labels[r::3]) for r, part in enumerate(parts))
        shapes = [[array.shape for array in arrays(part)] for part in parts]
        assert shapes[0] == shapes[1] == shapes[2]
        joined = {  # group b of replica r is group 3 b + r of the whole batch; a group has 3 slots
            3 * (3 * (slot // 3) + r) + slot % 3: ids
            for r, part in enumerate(parts)
            for slot, ids in read_pairs(part.fields["pair"]).items()
        }
        assert joined == read_pairs(one.fields["pair"])


@pytest.mark.parametrize(("hosts", "replicas"), [(2, 2), (2, 4), (3, 3), (4, 4), (2, 6)])
def test_hosts_read_what_their_replicas_need(
    cache: Records, hosts: int, replicas: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only their samples are decoded; where stripes are a multiple of the replicas, only their stripes are opened."""
    decoded: list[str] = []
    decode = Codec.decode

    def noting(codec: Codec, data: bytes, where: str) -> Any:
        decoded.append(where)
        return decode(codec, data, where)

    monkeypatch.setattr(Codec, "decode", noting)
    opened: list[int] = []
    verified = interleave.open_verified

    def opening(records: Records, shard: Any) -> Any:
        opened.append(shard.stripe)
        return verified(records, shard)

    monkeypatch.setattr(interleave, "open_verified", opening)
    batch, steps, here = 12 // replicas * replicas, 1, replicas // hosts
    options: dict[str, Any] = {"batch": batch, "replicas": replicas, "steps": steps}
    whole = list(training_batches(cache, EXTRACTOR, **options))
    assert len(decoded) == batch * steps
    for host in range(hosts):
        decoded.clear(), opened.clear()
        mine = range(host * here, (host + 1) * here)
        own = list(training_batches(cache, EXTRACTOR, here=mine, **options))
        assert len(decoded) == batch * steps // hosts
        if 8 % replicas == 0:
            assert {stripe % replicas for stripe in opened} == set(mine)
        for step, parts in enumerate(own):
            for r, part in zip(mine, parts, strict=True):
                assert read_pairs(part.fields["pair"]) == read_pairs(whole[step][r].fields["pair"])


def test_uneven_shares_and_too_many_steps_are_refused(cache: Records) -> None:
    with pytest.raises(ValueError, match="a batch of 4 groups cannot be divided evenly over 3 replicas"):
        training_batches(cache, EXTRACTOR, batch=4, replicas=3, steps=1)
    with pytest.raises(ValueError, match="6 steps of 4 samples asked of a cache of 23"):
        training_batches(cache, EXTRACTOR, batch=4, steps=6)


def test_static_training_batches_come_in_few_shapes(cache: Records) -> None:
    extractor = WordExtractor(passage=5)
    batches = [b for (b,) in training_batches(cache, extractor, batch=2, steps=11, static=True)]
    shapes = {name: {arrays(batch.fields[name])[0].shape for batch in batches} for name in ("pair", "query")}
    assert shapes["pair"] <= {(rows, 60) for rows in range(1, 7)} | {(rows, 30) for rows in range(1, 12)}
    assert shapes["query"] <= {(1, 8), (1, 4), (2, 4)}
    slots = {len(batch.fields["pair"].owner) for batch in batches}
    assert {count % 6 for count in slots} == {0}


def uneven(n: int) -> Sample:
    """Groups of 0 to 6 documents of 20 queries."""
    docids = tuple(f"d{(7 * n + k) % 200}" for k in range(n % 7))
    return Sample(f"q{n}", docids, tuple(float(k) for k in range(len(docids))))


@pytest.fixture(scope="module")
def candidates(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return converted(tmp_path_factory.mktemp("candidates"), sampler=uneven, samples=20)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize(("evalbatch", "replicas"), [(1, 1), (3, 2), (7, 1), (8, 4), (1000, 2)])
def test_defect_15_every_pair_is_predicted_once_whatever_the_batch(
    candidates: Records, evalbatch: int, replicas: int, static: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "SORT_PAIRS", 20)
    extractor = WordExtractor(passage=8)
    wanted: dict[tuple[str, str], Any] = {}
    for n in range(20):
        example = expected(n, uneven)
        for sequence in extractor.extract(example)["pair"]:
            key = (example.qid, example.docids[sequence.doc])
            wanted.setdefault(key, (example.labels[sequence.doc], []))[1].append(sequence.ids.tolist())
    found: list[tuple[tuple[str, str], Any]] = []
    for batches, rows in prediction_batches(
        read_examples(candidates), extractor, evalbatch=evalbatch, replicas=replicas, static=static
    ):
        assert len(batches) == len(rows) == replicas
        assert len({batch.fields["pair"].layout.ids.shape for batch in batches}) == 1
        for batch, groups in zip(batches, rows, strict=True):
            ids = [(qid, docid) for qid, (docid,) in groups]
            assert batch.doc_mask.sum() == len(ids) and not batch.doc_mask[len(ids) :].any()
            assert (
                len(batch.labels) == -(-evalbatch // replicas)
                if static
                else len(batch.labels) <= -(-evalbatch // replicas)
            )
            sequences = read_pairs(batch.fields["pair"])
            assert set(sequences) == set(range(len(ids)))
            found += [(key, (batch.labels[b, 0], sequences[b])) for b, key in enumerate(ids)]
            check_queries(batch, ids, extractor)
    assert len(found) == len(wanted) and dict(found) == wanted


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize(("evalbatch", "replicas"), [(1, 1), (12, 1), (12, 2), (1000, 2)])
def test_whole_groups_are_predicted_once_and_never_split(
    candidates: Records, evalbatch: int, replicas: int, static: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups of 0 to 6 documents; a batch holds `evalbatch` pairs, padding included, but at least a group a replica."""
    monkeypatch.setattr(reader, "SORT_PAIRS", 40)
    found, shapes = dict[str, tuple[str, ...]](), set[tuple[int, int]]()
    for batches, rows in prediction_batches(
        read_examples(candidates),
        WordExtractor(),
        evalbatch=evalbatch,
        replicas=replicas,
        static=static,
        whole_groups=True,
    ):
        assert len({batch.labels.shape for batch in batches}) == 1
        shapes.add(batches[0].labels.shape)
        assert batches[0].labels.size <= max(evalbatch // replicas, batches[0].labels.shape[1])
        for batch, groups in zip(batches, rows, strict=True):
            assert batch.doc_mask.sum(axis=1).tolist()[: len(groups)] == [len(docids) for _, docids in groups]
            assert not batch.doc_mask[len(groups) :].any()
            for b, (qid, docids) in enumerate(groups):
                assert batch.labels[b, : len(docids)].tolist() == list(range(len(docids)))
                assert qid not in found
                found[qid] = docids
    wanted = {f"q{n}": uneven(n).docids for n in range(20) if n % 7}
    assert found == wanted and (evalbatch > 1) == any(groups > 1 for groups, _ in shapes)


def check_queries(batch: Batch, ids: list[tuple[str, str]], extractor: WordExtractor) -> None:
    """Every group finds its own query, and equal queries are laid out once."""
    field = batch.fields["query"]
    assert len(field.owner) == len(batch.labels) and len(set(field.owner[: len(ids)])) == len({qid for qid, _ in ids})
    for owner, (qid, _) in zip(field.owner, ids, strict=False):
        assert tokens_of(field.layout)[owner] == expected(int(qid[1:])).queries["query"].tolist()


def test_prediction_sorts_by_length_so_that_padding_is_small(tmp_path: Path) -> None:
    records = converted(tmp_path, sampler=Groups(size=40), samples=10)
    lengths, area, tokens = [], 0, 0
    for (batch,), _ in prediction_batches(read_examples(records), EXTRACTOR, evalbatch=16):
        layout = batch.fields["pair"].layout
        lengths.append(layout.places.shape[1])
        area += sum(int(np.prod(shape)) for shape in layout.chunks.shapes)
        tokens += int((layout.sequence >= 0).sum())
    assert lengths == sorted(lengths, reverse=True) and len(set(lengths)) == 4
    assert 1 - tokens / area < 0.2


def test_work_is_done_ahead_by_a_thread_that_ends_with_its_consumer() -> None:
    made = []

    def numbers() -> Any:
        try:
            for n in itertools.count():
                made.append(n)
                yield n
        finally:
            made.append("closed")

    before = threading.active_count()
    ahead = prefetch(numbers(), ahead=2)
    assert [next(ahead) for _ in range(3)] == [0, 1, 2]
    ahead.close()
    assert threading.active_count() == before and made[-1] == "closed" and len(made) <= 8


def test_an_error_in_the_thread_is_raised_where_it_would_have_come() -> None:
    def failing() -> Any:
        yield 1
        raise StorageError("damaged", where="shard:7")

    ahead = prefetch(failing())
    assert next(ahead) == 1
    with pytest.raises(StorageError, match="shard:7: damaged"):
        next(ahead)
    assert list(prefetch([])) == []


def test_a_shard_that_cannot_be_read_is_an_error_and_not_made_again(own: Records, monkeypatch: Any) -> None:
    """It may be whole: of another user, or on a disk that fails now."""
    made: list[Any] = []
    records = dataclasses.replace(own, rebuild=made.append)
    opened = interleave.open_shard
    for number in (errno.EACCES, errno.EIO, errno.EMFILE):

        def refused(path: Path, where: str, number: int = number) -> Any:
            with guard(path):
                raise OSError(number, os.strerror(number), str(path))

        monkeypatch.setattr(interleave, "open_shard", refused)
        with pytest.raises(StorageError, match=os.strerror(number)):
            list(read_examples(records))
    monkeypatch.setattr(interleave, "open_shard", opened)
    assert made == []


def test_a_token_beyond_the_vocabulary_is_an_error_with_a_remedy(own: Records) -> None:
    with pytest.raises(StorageError, match=r"token \d+ of 2 in the vocabulary(?s:.*)trainer.usecache=false"):
        list(training_batches(own, WordExtractor(vocab_size=2), batch=2, steps=2))
