"""The rankings of a report: one gain and one loss, the largest, with grades and texts."""

from __future__ import annotations

from pathlib import Path

from rankcli.data.store import store_of
from rankcli.report.facts import Ranked, Ranking
from rankcli.runs.rankings import rankings_of

DOCS = {f"d{n}": f"text {n}" for n in range(8)}
VALUES = {
    "first_stage": {"a": 0.1, "b": 0.2, "c": 0.9, "d": 0.8, "e": 0.5},
    "reranked": {"a": 0.9, "b": 0.2, "c": 0.9, "d": 0.8, "e": 0.5},
    "interpolated": {"a": 0.3, "b": 0.7, "c": 0.8, "d": 0.5, "e": 0.5},
}


def test_the_largest_gain_and_the_largest_loss_of_the_last_stage(tmp_path: Path) -> None:
    falling = {f"d{n}": float(-n) for n in range(7)}
    rising = {"gone": 9.0, **{f"d{n}": float(n) for n in range(7)}}
    runs = {stage: dict.fromkeys("abcde", falling) for stage in ("first_stage", "reranked")}
    runs["interpolated"] = dict.fromkeys("abcde", rising)
    found = list(
        rankings_of(VALUES, runs, dict.fromkeys("abcde", {"d1": 2, "d6": 0}), store_of(DOCS, "docs", tmp_path))
    )
    grades = {"d1": 2, "d6": 0}
    before = [Ranked(docid, grades.get(docid), DOCS[docid]) for docid in ("d0", "d1", "d2", "d3", "d4")]
    after = [Ranked("gone", None, ""), *(Ranked(f"d{n}", grades.get(f"d{n}"), DOCS[f"d{n}"]) for n in (6, 5, 4, 3))]
    assert found == [Ranking(qid, "interpolated", before, after) for qid in ("b", "d")]


def test_no_change_is_no_ranking(tmp_path: Path) -> None:
    same = {stage: VALUES["first_stage"] for stage in ("first_stage", "interpolated")}
    runs = {stage: dict.fromkeys("abcde", {"d0": 1.0}) for stage in same}
    assert list(rankings_of(same, runs, {}, store_of(DOCS, "docs", tmp_path))) == []
