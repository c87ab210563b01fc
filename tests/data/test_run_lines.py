"""Warnings about the ranks of a run, which the scores overrule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rankcli.data.trec import RunFile, read_run

Score = Callable[[int, int], float]


def write(path: Path, score: Score, rank: Callable[[int], object] = lambda rank: rank) -> Path:
    """Three queries with four documents each."""
    lines = (f"q{q} Q0 d{n} {rank(n)} {score(q, n)} t\n" for q in range(3) for n in range(1, 5))
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize(
    ("score", "disagree"),
    [
        (lambda q, n: n, 3),  # distances: the nearest has the lowest
        (lambda q, n: n if q == 1 else -n, 1),
        (lambda q, n: 1, 3),
        (lambda q, n: 1 if q == 1 else -n, 0),  # a tie, as BM25 has them
        (lambda q, n: -n // 2, 0),
    ],
)
def test_ranks_that_contradict_the_scores_are_told(
    score: Score, disagree: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.run", score)
    read_run(path)
    said = f"warning: {path}: ranks and scores disagree in {disagree} of 3 queries; scores decide\n"
    assert capsys.readouterr().err == (said if disagree else "")


def test_one_rank_for_all_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_run(write(tmp_path / "a.run", lambda q, n: n, lambda rank: 1))
    read_run(write(tmp_path / "b.run", lambda q, n: n, lambda rank: "-"))
    assert capsys.readouterr().err == ""


def test_it_is_told_once_however_often_the_run_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunFile(write(tmp_path / "a.run", lambda q, n: n))
    assert len([*run, *run]) == 6 and capsys.readouterr().err.count("disagree") == 1
    (tmp_path / "b.run").write_text("q1\td1\t1\nq1\td2\t2\n")
    run = RunFile(tmp_path / "b.run")
    assert len([*run, *run]) == 2 and capsys.readouterr().err.count("3 columns") == 1
