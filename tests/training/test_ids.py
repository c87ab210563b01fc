"""Changes that give a cache a new id, a run a new id, or neither."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from rankcli.config.registry import TRAINERS
from rankcli.runs.prepare import Prepared, prepare


def ids(tiny, *overrides: str) -> tuple[dict[str, str], str]:
    prepared: Prepared = prepare(tiny("crossencoder", *overrides))
    return prepared.sets.cache_ids, prepared.identity.run_id


@pytest.mark.parametrize(
    "override",
    ["trainer.evalbatch=7", "trainer.fastforward=false", "trainer.usecache=false", "trainer.strategy=mirrored"],
)
def test_how_a_run_is_carried_out_is_in_no_id(tiny, override: str) -> None:
    assert ids(tiny, override) == ids(tiny)


@pytest.mark.parametrize(
    "override",
    [
        "trainer.niters=5",
        "trainer.itersize=8",
        "trainer.batch=3",
        "trainer.bertlr=1e-4",
        "trainer.loss=pairwise_hinge",
        "reranker.dropout=0.2",
        "metrics.optimize=map",
    ],
)
def test_how_it_trains_is_in_the_run_id_alone(tiny, override: str) -> None:
    caches, run = ids(tiny, override)
    assert caches == ids(tiny)[0] and run != ids(tiny)[1]


@pytest.mark.parametrize(
    ("override", "splits"),
    [
        ("extractor.maxqlen=5", {"train", "dev", "test"}),
        ("data.run={name: bm25, k1: 1.5}", {"train", "dev", "test"}),
        ("sampler.nneg=2", {"train"}),
        ("trainer.seed=1", {"train"}),
        ("trainer.threshold=5", {"dev"}),
        ("trainer.testthreshold=5", {"test"}),
        ("data.folds.fold=1", {"train", "dev", "test"}),
    ],
)
def test_what_records_are_made_of_is_in_the_cache_id_of_the_splits_it_touches(tiny, override, splits) -> None:
    before, after = ids(tiny)[0], ids(tiny, override)[0]
    assert {split for split in before if before[split] != after[split]} == splits


def test_a_changed_judgment_of_a_training_query_changes_the_training_records_alone(tiny, tmp_path) -> None:
    before = ids(tiny)
    prepared = prepare(tiny())
    qid = prepared.dataset.split["train"][0]
    with (tmp_path / "qrels.txt").open("a") as qrels:
        qrels.write(f"{qid} 0 d1 1\n")
    after = ids(tiny)
    assert {split for split in before[0] if before[0][split] != after[0][split]} == {"train"}
    assert before[1] != after[1]


@pytest.mark.parametrize(
    ("overrides", "caches", "run_id"),
    [
        ([], ["27883d6c9e1611ed", "50c08d67b19864a0", "e9a97f385ec2bb77"], "01bff85ab8dd9480"),
        (
            ["sampler=triplet", "trainer.loss=pairwise_hinge"],
            ["c058d5da6bc7257f", "50c08d67b19864a0", "e9a97f385ec2bb77"],
            "f60f1ebecc00ed20",
        ),
        (
            ["data.folds.fold=1", "trainer.seed=1", "trainer.threshold=5"],
            ["f0a72129d5c8b278", "9f9c3a127c3bd9e4", "1e0c4559fb6ae2ad"],
            "f0f36248bcf05d11",
        ),
    ],
)
def test_ids_of_earlier_releases_stay_what_they_were(tiny, tmp_path, overrides, caches, run_id) -> None:
    """A change here makes every cache anew and every run another: it must be meant, and say so in the changelog.

    The vocabulary, which libraries make, is taken out.
    """
    ranks = [(n, rank, (2 * n + rank) % 24) for n in range(12) for rank in range(10)]
    lines = (f"q{n} Q0 d{doc} {rank + 1} {10 - rank} x\n" for n, rank, doc in ranks)
    (tmp_path / "given.run").write_text("".join(lines))
    prepared = prepare(tiny("TFKNRM", f"data.run={tmp_path}/given.run", *overrides))
    vocabulary = SimpleNamespace(fingerprint="fixed", streams={})
    sets = {name: dataclasses.replace(each, extractor=vocabulary) for name, each in prepared.sets.items()}
    fixed = dataclasses.replace(prepared, sets=dataclasses.replace(prepared.sets, sets=sets))
    assert [*fixed.sets.cache_ids.values()] == caches and fixed.identity.run_id == run_id


def test_dev_and_test_have_one_depth_by_default() -> None:
    trainer = TRAINERS.get("tensorflow")()
    assert trainer.threshold == trainer.test_depth == 100
