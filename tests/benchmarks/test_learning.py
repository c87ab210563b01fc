"""The head that benchmarks of losses and clicks train: its nDCG is trec_eval's, and it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks._heads import Rankings, Vectors, trained, unit
from benchmarks._learning import Done, spread
from benchmarks.losses import Bench
from rankcli.config.registry import LOSSES
from rankcli.evaluation.trec import evaluate
from rankcli.shapes import Sample

WIDTH, DOCS = 4, [f"d{n}" for n in range(12)]


@pytest.fixture(scope="module")
def vectors() -> tuple[Vectors, Vectors]:
    draw = np.random.default_rng(0)
    names = ["q0", "q1", "q2"], DOCS
    tables = [unit(draw.normal(size=(len(ids), WIDTH))).astype(np.float32) for ids in names]
    queries, docs = (
        Vectors({each: n for n, each in enumerate(ids)}, table) for ids, table in zip(names, tables, strict=True)
    )
    return queries, docs


@pytest.fixture(scope="module")
def rankings(vectors: tuple[Vectors, Vectors]) -> Rankings:
    """Of a query with grades, one whose relevant document was not found, and one without candidates."""
    run = {"q0": {docid: -float(n) for n, docid in enumerate(DOCS)}, "q1": {"d1": 2.0, "d2": 1.0}}
    return Rankings(run, {"q0": {"d11": 3, "d4": 1, "d5": 0}, "q1": {"d9": 1}, "q2": {"d0": 1}}, vectors, 12)


def test_ndcg_is_that_of_trec_eval(rankings: Rankings, vectors: tuple[Vectors, Vectors]) -> None:
    weights, bias = np.eye(WIDTH, dtype=np.float32), np.full(WIDTH, 0.5, np.float32)
    queries, docs = (unit(each.table + bias) for each in vectors)
    run = {"q0": dict(zip(DOCS, (docs @ queries[0]).tolist(), strict=True)), "q1": {"d1": 1.0}}
    qrels = {"q0": {"d11": 3, "d4": 1, "d5": 0}, "q1": {"d9": 1}}
    expected = evaluate(qrels, run, ["ndcg_cut_10"])["ndcg_cut_10"]
    np.testing.assert_allclose(rankings.reranked(weights, bias), [expected["q0"], expected["q1"], 0], rtol=1e-6)
    assert 0 < expected["q0"] < 1
    np.testing.assert_allclose(rankings.first(), [1 / np.log2(6) / (3 + 1 / np.log2(3)), 0, 0])  # d11 is below 10


def test_a_head_learns_what_is_relevant(rankings: Rankings, vectors: tuple[Vectors, Vectors]) -> None:
    def sampler(n: int) -> Sample:
        others = ("d0", "d1") if n % 2 else ("d2",)  # a smaller group is padded
        return Sample("q0", ("d11", *others), (1.0, *(0.0 for _ in others)), {})

    loss = LOSSES.get("lce")().build()
    head = trained(loss, sampler, vectors, rankings, steps=60, batch=4, rate=0.05)
    cosines = (
        unit(vectors[1].table @ head.last[0] + head.last[1]) @ unit(vectors[0].table @ head.last[0] + head.last[1])[0]
    )
    assert cosines[11] > cosines[:3].max() + 0.1
    start = float(rankings.reranked(np.eye(WIDTH, dtype=np.float32), np.zeros(WIDTH, np.float32)).mean())
    assert float(rankings.reranked(*head.weights).mean()) >= start and head.best % 15 == 0


def test_every_loss_has_a_row(tmp_path: Path) -> None:
    bench = object.__new__(Bench)
    bench.folder = tmp_path
    names = {name.split(":")[0].split(",")[0] for name in bench.rows() if not name.startswith("sampler")}
    assert names == set(LOSSES.builtins()) - {"clickem"}  # which `benchmarks/clicks.py` trains


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    path = tmp_path / "done.jsonl"
    assert Done(path)("a", lambda: {"test": 1}) == {"key": "a", "test": 1}
    assert Done(path)("a", lambda: pytest.fail("done before")) == {"key": "a", "test": 1}
    assert spread([1.0, 3.0]) == {"mean": 2.0, "deviation": 1.414, "least": 1.0, "most": 3.0}
