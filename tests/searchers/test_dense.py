"""Exact search over vectors: against all products in NumPy, over blocks, and from the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.cli import run
from rankcli.data.store import store_of
from rankcli.data.trec import read_run
from rankcli.errors import ConfigError
from rankcli.runs import encoder
from rankcli.runs.prepare import prepare
from rankcli.searchers.base import SearcherContext
from rankcli.searchers.dense import Dense
from tests.verbs.test_encode import here, made

__all__ = ["here", "made"]


@dataclass
class Given:
    """Vectors of documents that come in blocks of `size`."""

    vectors: dict[str, np.ndarray]
    size: int

    def queries(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[float(part) for part in text.split()] for text in texts], np.float32)

    def docs(self, docids: Sequence[str]) -> np.ndarray:
        return np.array([self.vectors[docid] for docid in docids])

    def blocks(self) -> Iterator[tuple[list[str], np.ndarray]]:
        ids = list(self.vectors)
        for start in range(0, len(ids), self.size):
            yield ids[start : start + self.size], self.docs(ids[start : start + self.size])


def searched(given: Given, queries: dict[str, str], k: int, folder: Path) -> Any:
    ctx = SearcherContext(store_of({"d": "x"}, "docs", folder), lambda name: given)
    return Dense(pretrained="m", k=k).build(ctx).search(queries)


def test_products_rank_and_ties_go_by_id(tmp_path: Path) -> None:
    vectors = {"a": [1, 0], "b": [0, 1], "c": [1, 0], "d": [-1, 0.5]}
    given = Given({docid: np.array(each, np.float32) for docid, each in vectors.items()}, 4)
    found = searched(given, {"q": "2 1", "r": "-1 0"}, 3, tmp_path)
    assert list(found["q"].items()) == [("c", 2.0), ("a", 2.0), ("b", 1.0)]
    assert list(found["r"].items()) == [("d", 1.0), ("b", 0.0), ("c", -1.0)], "the higher id of the tied ones"


@pytest.mark.parametrize("size", [1, 7, 40])
def test_blocks_change_nothing(size: int, tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    vectors = {f"d{n:02}": draw.normal(size=6).round(1).astype(np.float32) for n in range(40)}
    queries = {f"q{n}": " ".join(map(str, draw.normal(size=6).round(1))) for n in range(3)}
    found = searched(Given(vectors, size), queries, 5, tmp_path)
    for qid, text in queries.items():
        own = np.array(text.split(), np.float32).astype(np.float64)
        scores = {docid: float(np.float32(own @ each.astype(np.float64))) for docid, each in vectors.items()}
        assert list(found[qid].items()) == sorted(scores.items(), key=lambda item: item[::-1], reverse=True)[:5]


def test_the_command_ranks_as_the_reranker_does_and_encodes_once(
    made: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "AT_ONCE", 8)
    files = [f"--{kind}={made / kind}.jsonl" for kind in ("docs", "queries")]
    assert run(["search", *files, f"--dense={made / 'run'}", "-o", "dense.run"]) == 0
    assert run(["rerank", *files, f"--model={made / 'run'}", f"--run={made / 'in.run'}", "-o", "all.run"]) == 0
    dense, reranked = read_run("dense.run"), read_run("all.run")
    for qid, scores in reranked.items():
        assert list(dense[qid]) == list(scores)
        assert [20 * score for score in dense[qid].values()] == pytest.approx(list(scores.values()), abs=2e-5)
    monkeypatch.setattr(encoder.BaseEncoder, "of", lambda self, field: None)  # nothing is left to encode
    assert run(["search", *files, f"--dense={made / 'run'}", "-o", "again.run"]) == 0
    assert (here / "again.run").read_bytes() == (here / "dense.run").read_bytes()


def test_options_of_bm25_and_other_models_are_refused(
    made: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [f"--{kind}={made / kind}.jsonl" for kind in ("docs", "queries")]
    assert run(["search", *files, f"--dense={made / 'run'}", "--k1=1", "-o", "dense.run"]) == 2
    assert "--dense has no option but --k" in capsys.readouterr().err
    assert run(["search", *files, f"--dense={made / 'pairs'}", "-o", "dense.run"]) == 2
    assert "use a bi-encoder" in capsys.readouterr().err and not (here / "dense.run").exists()


def test_a_context_without_encoders_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be encoded"):
        Dense(pretrained="m").build(SearcherContext(store_of({"d": "x"}, "docs", tmp_path)))


def test_a_training_takes_candidates_by_vectors_and_keeps_them(tiny: Any, made: Path, tmp_path: Path) -> None:
    dense = f"{{name: dense, pretrained: {made / 'run'}}}"
    prepared = prepare(tiny("TFKNRM", f"data.run={dense}"))
    dev = prepared.dataset.split["dev"]
    assert all(len(prepared.sets["dev"].candidates[qid]) == 24 for qid in dev)
    assert prepared.first_stage == f"exact search over vectors of {made.name}/run, not tuned"
    fused = prepare(tiny("TFKNRM", f"data.run={{name: fuse, runs: [bm25, {dense}], k: 5}}"))
    assert all(len(fused.sets["dev"].candidates[qid]) == 5 for qid in dev)
