from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankcli.data.folds import check_disjoint, kfold, leaked, read_ids
from rankcli.errors import ConfigError, DataError


def test_deals_in_the_order_of_a_hash() -> None:
    qids = ["1", "2", "3", "4", "5", "6", "7"]
    order = sorted(qids, key=lambda qid: hashlib.sha256(f"7\0{qid}".encode()).hexdigest())
    split = kfold(qids, 3, 2, 7)
    assert split["test"] == tuple(sorted(order[2::3]))
    assert split["dev"] == tuple(sorted(order[0::3]))
    assert split["train"] == tuple(sorted(order[1::3]))


def test_golden_split() -> None:
    assert kfold(map(str, range(9)), 3, 0, 7) == {
        "train": ("6", "7", "8"),
        "dev": ("0", "2", "4"),
        "test": ("1", "3", "5"),
    }


@settings(max_examples=50, deadline=None)
@given(
    st.sets(st.text(min_size=1, max_size=5), min_size=6, max_size=40), st.integers(3, 6), st.integers(), st.randoms()
)
def test_folds_partition_the_queries_evenly_whatever_their_order(qids: set[str], k: int, seed: int, chance) -> None:
    shuffled = sorted(qids)
    chance.shuffle(shuffled)
    splits = [kfold(shuffled, k, fold, seed) for fold in range(k)]
    assert splits == [kfold(sorted(qids) * 2, k, fold, seed) for fold in range(k)]
    tests = [qid for split in splits for qid in split["test"]]
    assert sorted(tests) == sorted(qids)
    sizes = [len(split["test"]) for split in splits]
    assert max(sizes) - min(sizes) <= 1
    for fold, split in enumerate(splits):
        assert sorted(split["train"] + split["dev"] + split["test"]) == sorted(qids)
        assert split["dev"] == splits[(fold + 1) % k]["test"]


def test_the_seed_changes_the_split() -> None:
    qids = [str(n) for n in range(30)]
    assert kfold(qids, 3, 0, 7) != kfold(qids, 3, 0, 8)


def test_more_folds_than_queries_is_an_error() -> None:
    with pytest.raises(ConfigError, match="2 judged queries cannot make 3 folds"):
        kfold(["a", "b"], 3, 0, 7)


def test_id_files(tmp_path: Path, capsys) -> None:
    path = tmp_path / "ids"
    path.write_text("b\r\n a\nb\n")
    assert read_ids(path) == ("a", "b")
    assert "1 repeated lines ignored" in capsys.readouterr().err
    path.write_text("a\nb c\n")
    with pytest.raises(DataError) as caught:
        read_ids(path)
    assert caught.value.where == f"{path}:2"


def test_parts_of_a_split_must_not_overlap() -> None:
    check_disjoint({"train": ["a"], "dev": ["b"], "test": ["c"]}, "data.folds")
    with pytest.raises(ConfigError, match="train and test share 2 queries, e.g. 'a'"):
        check_disjoint({"train": ["a", "b"], "dev": ["c"], "test": ["b", "a"]}, "data.folds")


def test_leaked_queries_are_those_in_both() -> None:
    assert leaked(["a", "b", "c"], iter(["c", "x", "a"])) == {"a", "c"}
