"""Damaged shards of a finished cache: written again to the byte, or refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from record_fakes import Groups, WordExtractor, converted, expected, inodes, job, same, tree

from rankcli.errors import StorageError
from rankcli.records.convert import rebuild
from rankcli.records.interleave import Records, read_examples
from rankcli.records.manifest import Shard
from rankcli.records.reader import training_batches

pytestmark = pytest.mark.faults


def spoil(root: Path, records: Records, *numbers: int) -> list[Shard]:
    """Damage shards: shorter, of the same length, gone."""
    chosen = [records.manifest.shards[number] for number in numbers]
    for n, shard in enumerate(chosen):
        path = root / records.manifest.location / shard.name
        (path.unlink if n % 3 == 2 else partial(path.write_bytes, b"x" * (shard.bytes - n % 3)))()
    return chosen


@pytest.mark.parametrize("numbers", [(4,), (0, 3, 14)])
def test_rebuilt_shards_are_what_they_were_and_the_others_stay_untouched(
    tmp_path: Path, numbers: tuple[int, ...]
) -> None:
    records = converted(tmp_path)
    whole, before = tree(tmp_path), inodes(tmp_path / "c0ffee/1")
    chosen = spoil(tmp_path, records, *numbers)
    rebuild(job(tmp_path), records.manifest, chosen)
    after = inodes(tmp_path / "c0ffee/1")
    assert tree(tmp_path) == whole and not any((tmp_path / "tmp.work").iterdir())
    assert {name for name in before if after[name] != before[name]} == {shard.name for shard in chosen}


def test_only_the_texts_of_a_damaged_shard_are_tokenised(tmp_path: Path) -> None:
    """Shard 4 has the samples 4 and 12: two queries with three documents each."""
    records, extractor = converted(tmp_path), WordExtractor()
    rebuild(job(tmp_path, extractor=extractor), records.manifest, spoil(tmp_path, records, 4))
    assert len(extractor.seen) == 2 + 6


@pytest.mark.parametrize("changes", [{"sampler": Groups(size=2)}, {"extractor": WordExtractor(vocab_size=70_000)}])
def test_what_cannot_be_made_again_is_said_and_left(tmp_path: Path, changes: dict[str, object]) -> None:
    records = converted(tmp_path)
    chosen = spoil(tmp_path, records, 4)
    before = tree(tmp_path / "c0ffee")
    with pytest.raises(StorageError, match="cannot be made again") as caught:
        rebuild(job(tmp_path, **changes), records.manifest, chosen)
    assert caught.value.where == f"{tmp_path}/c0ffee/1/{chosen[0].name}"
    assert f"delete {tmp_path}/c0ffee/1" in caught.value.fix and tree(tmp_path / "c0ffee") == before


def repairing(root: Path, records: Records, asked: list[str]) -> Records:
    """Records that are read with repair; the shards that were damaged are noted."""

    def again(shard: Shard) -> None:
        asked.append(shard.name)
        rebuild(job(root), records.manifest, [shard])

    return Records(records.manifest, records.storage, again)


def test_a_reader_repairs_what_it_finds_damaged_before_it_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = converted(tmp_path)
    whole = tree(tmp_path)
    chosen = spoil(tmp_path, records, 0, 3, 9, 14)
    asked: list[str] = []
    examples = list(read_examples(repairing(tmp_path, records, asked)))
    assert len(examples) == 23 and all(same(example, expected(n)) for n, example in enumerate(examples))
    assert sorted(asked) == sorted(shard.name for shard in chosen) and tree(tmp_path) == whole
    said = capsys.readouterr().err
    assert f"{chosen[0].name}: damaged cache: the shard has another checksum; it is made again" in said
    assert said.count("it is made again") == 4


def test_a_training_that_repairs_sees_the_batches_of_a_whole_cache(tmp_path: Path) -> None:
    records, extractor = converted(tmp_path), WordExtractor()
    wanted = [batch.fields["pair"].layout.ids for (batch,) in training_batches(records, extractor, batch=4, steps=5)]
    spoil(tmp_path, records, 8)
    repaired = training_batches(repairing(tmp_path, records, []), extractor, batch=4, steps=5)
    for (batch,), ids in zip(repaired, wanted, strict=True):
        assert np.array_equal(batch.fields["pair"].layout.ids, ids)


def test_a_shard_that_stays_damaged_is_an_error(tmp_path: Path) -> None:
    records = converted(tmp_path)
    (shard,) = spoil(tmp_path, records, 0)
    with pytest.raises(StorageError, match="another checksum") as caught:
        next(read_examples(Records(records.manifest, records.storage, lambda damaged: None)))
    assert shard.name in caught.value.where
