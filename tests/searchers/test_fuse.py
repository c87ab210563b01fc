from __future__ import annotations

from pathlib import Path

import pytest

from rankcli.config.registry import SEARCHERS
from rankcli.config.schema import Data, Folds
from rankcli.config.validate import component_from
from rankcli.data.dataset import load_dataset
from rankcli.errors import ConfigError, DataError
from rankcli.runs.candidates import first_stage
from rankcli.searchers.bm25 import BM25
from rankcli.searchers.fuse import Fuse
from tests.searchers.test_first_stage import kept, write

FIRST, SECOND = {"a": 9.0, "b": 5.0, "c": 1.0}, {"d": 0.75, "b": 0.5, "a": 0.25}
TWO = ("one.run", "two.run")


def fused(method: str, *shares: float, k: int = 1000) -> dict[str, float]:
    return Fuse(runs=TWO, method=method, shares=shares, k=k).fused([FIRST, SECOND])  # type: ignore[arg-type]


def test_rrf_adds_shares_by_rank() -> None:
    assert fused("rrf") == {"a": 1 / 61 + 1 / 63, "b": 2 / 62, "d": 1 / 61, "c": 1 / 63}
    assert fused("rrf", 3, 1, k=2) == {"a": 3 / 61 + 1 / 63, "b": 3 / 62 + 1 / 62}


def test_scaled_scores_are_added_and_a_missing_document_has_the_lowest() -> None:
    assert fused("minmax", 1, 2) == {"d": 2.0, "b": 0.5 + 1.0, "a": 1.0, "c": 0.0}
    unit = 1.5**0.5  # 9, 5, 1 and .75, .5, .25 are 1, 0 and -1 times this far from their means
    assert fused("zscore") == pytest.approx({"a": 0.0, "b": 0.0, "d": 0.0, "c": -2 * unit})


def test_a_union_takes_from_the_runs_in_turn() -> None:
    assert list(fused("union")) == ["a", "d", "b", "c"] and fused("union")["b"] == 1 / 3
    assert list(fused("union", k=2)) == ["a", "d"]


@pytest.mark.parametrize("method", ["rrf", "minmax", "zscore", "union"])
def test_a_run_without_documents_changes_no_order(method: str) -> None:
    options = Fuse(runs=TWO, method=method)  # type: ignore[arg-type]
    assert list(options.fused([{}, FIRST])) == list(FIRST) and options.fused([{}, {}]) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runs": ["bm25"]}, "two or more"),
        ({"runs": ["bm25", "bm25"], "shares": [1]}, "each of the 2 runs"),
        ({"runs": ["bm25", "bm25"], "shares": [1, 1], "method": "union"}, "leave shares out"),
        ({"runs": ["bm25", "bm25"], "shares": [1, 0]}, "above 0"),
        ({"runs": ["bm25", {"name": "bm25", "k2": 3}]}, "runs.1.k2: unknown key"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        component_from(SEARCHERS, {"name": "fuse", **options})


def test_a_file_and_a_searcher_are_fused_and_the_result_is_named_after_their_content(tmp_path: Path) -> None:
    dataset = load_dataset(Data(**write(tmp_path), folds=Folds(k=3)), tmp_path / "scratch")
    given = tmp_path / "given.run"
    options = Fuse(runs=(str(given), BM25()))
    for docid in ("d4", "d5"):
        given.write_text(f"q-pear Q0 {docid} 1 2.5 t\nq-pear Q0 gone 2 1.5 t\n")
        run = first_stage(dataset, options, tmp_path / "scratch")
        assert list(run["q-pear"]) == [*sorted(["d2", docid], reverse=True), "d1"], "d1 is second of BM25"
        assert list(run["q-fig"]) == ["d4", "d3"], "BM25 alone"
    assert len(kept(tmp_path)) == 2 * 2
    given.unlink()
    with pytest.raises((ConfigError, DataError)):
        first_stage(dataset, options, tmp_path / "scratch")
