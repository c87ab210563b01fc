"""`rankcli fuse`: runs are read query by query; what the command says and refuses."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from rankcli.cli import run
from rankcli.data.trec import read_run

ONE = "q2 Q0 a 1 9 t\nq2 Q0 b 2 5 t\nq10 Q0 a 1 3 t\n"
TWO = "q2 Q0 b 1 .9 t\nq2 Q0 c 2 .5 t\nq10 Q0 a 1 3 t\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("one.run").write_text(ONE)
    Path("bm25").write_bytes(gzip.compress(TWO.encode()))  # a file, though a searcher has this name
    return tmp_path


def fuse(*args: str, runs: tuple[str, ...] = ("one.run", "bm25")) -> int:
    return run(["fuse", *(arg for each in runs for arg in ("--run", each)), *args])


def test_runs_are_fused_in_the_order_of_their_queries(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fuse("-o", "out.run.gz") == 0
    lines = gzip.decompress(Path("out.run.gz").read_bytes()).decode().splitlines()
    assert lines[0] == "q2 Q0 b 1 0.032522473 rankcli-fused", "1 / 62 + 1 / 61"
    assert [line.split()[:4:2] for line in lines] == [["q2", "b"], ["q2", "a"], ["q2", "c"], ["q10", "a"]]
    assert capsys.readouterr().out == "out.run.gz: 4 lines for 2 queries, 2 runs fused by rrf\n"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("q10 Q0 a 1 3 t\nq2 Q0 b 1 .9 t\nq2 Q0 c 2 .5 t\n", "its queries come in another order"),
        ("q2 Q0 b 1 .9 t\nq10 Q0 a 1 3 t\nq2 Q0 c 2 .5 t\n", "do not stand together"),
    ],
)
def test_any_order_of_lines_gives_the_same_run(
    folder: Path, other: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fuse("-o", "out.run") == 0
    assert capsys.readouterr().err == "", "grouped in one order: nothing is held in memory"
    Path("other.run").write_text(other)
    assert fuse("-o", "again.run", runs=("one.run", "other.run")) == 0
    assert Path("again.run").read_bytes() == Path("out.run").read_bytes()
    assert said in capsys.readouterr().err


def test_a_query_of_one_run_alone_is_kept_and_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("more.run").write_text("q1 Q0 z 1 1 t\n" + TWO)
    assert fuse("-o", "out.run", "--json", runs=("one.run", "more.run")) == 0
    out, err = capsys.readouterr()
    assert {"queries": 3, "incomplete": 1, "lines": 5}.items() <= json.loads(out).items()
    assert "1 of 3 queries are not in all runs, for example 'q1'" in err
    assert list(read_run("out.run")) == ["q2", "q10", "q1"]


def test_what_cannot_be_fused_is_refused_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("strange.run").write_text("x Q0 a 1 3 t\n")
    Path("bad.run").write_text(TWO + "q11 Q0 a\n")
    for code, runs, args, said in [
        (3, ("one.run", "strange.run"), (), "no query is in more than one of the runs"),
        (3, ("one.run", "bad.run"), (), "bad.run:4"),
        (2, ("one.run",), (), "runs must be two or more"),
        (2, ("one.run", "bm25"), ("--shares", "1"), "a number for each of the 2 runs"),
        (2, ("one.run", "bm25"), ("--shares", "1,x"), "not a list of numbers"),
        (2, ("one.run", "bm25"), ("--k", "0"), "above 0"),
        (2, ("one.run", "gone.run"), (), "does not exist"),
    ]:
        assert fuse("-o", "out.run", *args, runs=runs) == code, said
        assert said in capsys.readouterr().err and not Path("out.run").exists()
    assert fuse("-o", "one.run", "--force") == 2 and Path("one.run").read_text() == ONE
