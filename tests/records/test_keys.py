"""Keys of ids: equal for equal ids, and the judged pairs of a run among them."""

from __future__ import annotations

import numpy as np

from rankcli.records.keys import doc_key, keys_of, pair_keys, query_key
from rankcli.runs.prepare import prepare
from rankcli.shapes import Example
from rankcli.training.hooks import compares_groups


def example(qid: str, *docids: str) -> Example:
    return Example(qid, docids, np.zeros(len(docids), np.float32))


def test_equal_ids_have_equal_keys_and_padding_has_0() -> None:
    keys = keys_of([example("1", "1", "2"), example("2", "2")], groups=3, docs=2)
    assert keys.query.tolist() == [query_key("1"), query_key("2"), 0]
    assert keys.doc.tolist() == [[doc_key("1"), doc_key("2")], [doc_key("2"), 0], [0, 0]]
    assert len({query_key("1"), doc_key("1"), query_key("2"), doc_key("2")}) == 4
    assert doc_key("MED-10") == -57090644675444702  # of every process and release: memories are in checkpoints


def test_the_keys_of_pairs_are_sums_sorted_each_once() -> None:
    found = pair_keys([("q", ["a", "b"]), ("r", ["a"]), ("q", ["b"]), ("s", [])])
    sums = [int(np.int64(query_key(q)) + np.array([doc_key(d)])[0]) for q, d in ("qa", "qb", "ra")]
    assert found.tolist() == sorted(sums) and found.dtype == np.int64
    assert pair_keys([]).tolist() == []


def test_the_judged_pairs_of_a_run_are_those_of_its_training_queries_from_the_relevance_level_on(
    tiny, tmp_path
) -> None:
    with (tmp_path / "qrels.txt").open("a") as qrels:
        qrels.writelines(f"q{n} 0 d1 {n % 2}\nq{n} 0 d3 -1\n" for n in range(12))
    prepared = prepare(tiny("biencoder"))
    found = dict(prepared.sets["train"].relevant())
    assert set(found) == set(prepared.dataset.split["train"]) and len(found) < 12
    assert all(
        set(docids) == {f"d{2 * n}", *(["d1"] if n % 2 else [])}
        for qid, docids in found.items()
        for n in [int(qid[1:])]
    )


def test_batches_have_keys_where_a_loss_or_hook_compares_groups(tiny) -> None:
    asked = {
        override: tiny("biencoder", override).trainer
        for override in (
            "trainer.loss=infonce",
            "trainer.hooks=[{name: loss, loss: infonce}]",
            "trainer.hooks=[{name: xbm}]",
            "trainer.loss=contrastive",
        )
    }
    found = [compares_groups(trainer.losses(), trainer.hooks) for trainer in asked.values()]
    assert found == [True, True, True, False]
