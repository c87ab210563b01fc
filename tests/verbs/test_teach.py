"""`teach`: whose scores are written, how they are put together, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rankcli.cli import run
from rankcli.data.trec import read_run
from rankcli.runs.journal import Journal
from rankcli.verbs.train import train

TEXTS = ("--docs", "docs.jsonl", "--queries", "queries.jsonl")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two teachers: one.run scores a, b, c of query q, and a of p; two.jsonl a, b, d of q."""
    monkeypatch.chdir(tmp_path)
    Path("one.run").write_text("q Q0 a 1 4 x\nq Q0 b 2 2 x\nq Q0 c 3 0 x\np Q0 a 1 1 x\n")
    rows = [{"query-id": "q", "corpus-id": docid, "score": score} for docid, score in (("b", 30), ("a", 10), ("d", 5))]
    Path("two.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def taught(*options: str) -> dict[str, dict[str, float]]:
    assert run(["teach", "-o", "out.run", "--force", *options]) == 0
    return dict(read_run("out.run"))


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ((), {"a": 7.0, "b": 16.0}),
        (("--shares", "2,-1"), {"a": -2.0, "b": -26.0}),
        (("--scale", "minmax"), {"a": 0.5, "b": 0.5}),  # over the pairs that both scored
        (("--scale", "zscore", "--shares", "3,1"), {"a": 2.0, "b": -2.0}),
    ],
)
def test_teachers_are_scaled_and_added_over_the_pairs_that_all_scored(
    options: tuple[str, ...], wanted: dict[str, float], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert taught("--scores", "one.run", "--scores", "two.jsonl", *options) == {"q": pytest.approx(wanted)}
    found = capsys.readouterr()
    assert "warning: one.run: 2 pairs are left out, because a teacher did not score them" in found.err
    assert "out.run: 2 pairs of 1 queries, scored by 2 teachers" in found.out


def test_one_teacher_is_written_as_it_is_or_scaled(folder: Path) -> None:
    assert taught("--scores", "one.run") == {"q": {"a": 4.0, "b": 2.0, "c": 0.0}, "p": {"a": 1.0}}
    assert taught("--scores", "two.jsonl", "--scale", "minmax") == {"q": {"b": 1.0, "a": pytest.approx(0.2), "d": 0.0}}
    assert taught("--scores", "one.run", "--scale", "zscore")["p"] == {"a": 0.0}


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 2, "there is no teacher"),
        (("--model", "m"), 2, "--model scores the pairs of a run: give --docs, --queries and --run"),
        (("--scores", "one.run", "--run", "one.run"), 2, "are read by a --model alone"),
        (("--scores", "one.run", "--shares", "1,2"), 2, "--shares must have a number for each of the 1 teachers"),
        (("--scores", "one.run", "--shares", "1,x"), 2, "'1,x' is not a list of numbers"),
        (("--scores", "one.run", "--scores", "other.run"), 3, "one.run: no pair of it is scored by all teachers"),
        (("--scores", "one.run", "--scores", "bad.run"), 3, "bad.run:2: "),
        (("--scores", "bad.run"), 3, "bad.run:2: "),
    ],
)
def test_what_does_not_fit_is_said(
    options: tuple[str, ...], code: int, message: str, folder: Path, capsys: Any
) -> None:
    Path("bad.run").write_text("q Q0 a 1 1 x\nq Q0 b one x\n")
    Path("other.run").write_text("z Q0 a 1 1 x\n")
    assert run(["teach", "-o", "out.run", *options]) == code
    assert message in capsys.readouterr().err and not Path("out.run").exists()


def test_a_model_scores_runs_and_mined_rows_alike_and_a_stopped_one_goes_on(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train(tiny("TFKNRM", "trainer.niters=1", "metrics.report=[map]"), out=tmp_path / "model")
    Path("first.run").write_text("".join(f"q{n} Q0 d{d} 1 {24 - d} x\n" for n in range(3) for d in range(8)))
    rows = [{"query": f"q{n}", "pos": [f"d{d}"], "neg": [f"d{d + 1}"]} for d in (0, 2, 4, 6) for n in range(3)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = ("--model", "model", "--evalbatch", "4", *TEXTS)
    assert run(["rerank", *model, "--run", "first.run", "-o", "scores.run"]) == 0
    left, add = iter(range(3)), Journal.add

    def adding(self: Journal, scores: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        add(self, scores)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", adding)
        assert run(["teach", *model, "--run", "first.run", "-o", "out.run"]) == 130
    assert taught(*model, "--run", "first.run") == dict(read_run("scores.run"))
    assert "going on after 12 pairs" in capsys.readouterr().err
    found = taught(*model, "--run", "rows.jsonl")
    assert {qid: pytest.approx(scores, rel=1e-4) for qid, scores in found.items()} == dict(read_run("scores.run"))
    mixed = taught(*model, "--run", "rows.jsonl", "--scores", "first.run", "--shares", "1,0.5")
    assert mixed["q1"]["d3"] == pytest.approx(found["q1"]["d3"] + 10.5)
    Path("first.run").write_text("q0 Q0 gone 1 9 x\nq0 Q0 d1 1 3 x\nnobody Q0 d1 1 3 x\n")
    assert {qid: list(scores) for qid, scores in taught(*model, "--run", "first.run").items()} == {"q0": ["d1"]}
    Path("first.run").write_text("nobody Q0 d1 1 3 x\n")
    assert run(["teach", *model, "--run", "first.run", "-o", "none.run"]) == 3
    assert "first.run: no pair has texts in these documents and queries" in capsys.readouterr().err
