"""The thin commands: their options reach the verbs, their results reach stdout."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest

from rankcli.cli import COMMANDS, cli, run
from rankcli.cli._command import Command, Group
from rankcli.cli.search import _tuned
from rankcli.data.hashes import input_sha256
from rankcli.storage.sealed import sealed, unsealed
from rankcli.verbs import convert, rerank, train

DONE = {"result": {"n": 1}, "text": "done"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    docs = {"d1": "red apples", "d2": "green apples and pears", "d3": "blue sky"}
    Path("docs.jsonl").write_text("".join(json.dumps({"_id": k, "text": v}) + "\n" for k, v in docs.items()))
    Path("queries.jsonl").write_text('{"_id": "q1", "text": "green pears"}\n{"_id": "q2", "text": "sky"}\n')
    Path("qrels.txt").write_text("q1 0 d2 1\nq2 0 d3 1\n")
    Path("a.yaml").write_text("data: {builtin: stdlib-docs}\nreranker: TFKNRM\n")
    return tmp_path


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of the verbs that need TensorFlow."""
    calls: list[dict[str, Any]] = []

    def record(*args: Any, **kwargs: Any) -> dict[str, Any]:
        calls.append({"args": args, **kwargs})
        return {"result": {"n": 1}, "text": "done"}

    for module, name in ((train, "train"), (convert, "convert"), (rerank, "rerank")):
        monkeypatch.setattr(module, name, record)
    return calls


def test_search_and_evaluate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--docs", "docs.jsonl", "--queries", "queries.jsonl"]
    assert run(["search", *files, "--output", "bm25.run", "--k", "2"]) == 0
    assert capsys.readouterr().out.startswith("bm25.run: 2 lines for 2 of 2 queries, 3 documents")
    assert run(["evaluate", "--qrels", "qrels.txt", "--run", "bm25.run", "--metric", "map", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema_version": 1,
        "queries": 2,
        "queries_are": "all that are judged",
        "metrics": {"map": {"mean": 1.0}},
    }
    assert run(["evaluate", "--qrels", "qrels.txt", "--run", "bm25.run"]) == 0
    assert "ndcg_cut_10" in capsys.readouterr().out


def test_search_options_are_validated_like_a_configuration(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--docs", "docs.jsonl", "--queries", "queries.jsonl", "--output", "x.run"]
    assert run(["search", *files, "--b", "1.5", "--stopwords", "french"]) == 2
    err = capsys.readouterr().err
    assert "b: expected a number of at least 0 of at most 1, got 1.5" in err
    assert "stopwords: expected `english` or `none`" in err
    assert not Path("x.run").exists()


def test_tuning_chooses_k1_and_b_and_says_what_it_gains(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--docs", "docs.jsonl", "--queries", "queries.jsonl", "--output", "x.run", "--tune", "qrels.txt"]
    assert run(["search", *files, "--k1", "1.5"]) == 2
    assert "--tune chooses k1, b and --fb-*: leave them out." in capsys.readouterr().err and not Path("x.run").exists()
    assert run(["search", *files, "--metric", "map"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "k1 0.9, b 0.4: map 1.0000 (default 1.0000; 25 settings tried)",
        "data: {run: {name: bm25, k1: 0.9, b: 0.4}}",
    ]
    rows = [{"k1": k1, "b": b, "map": k1 - b} for k1 in (0.9, 2.0) for b in (0.2, 0.4, 0.6)]
    said = _tuned({"k1": 2.0, "b": 0.4, "edges": ["k1"], "table": rows}).splitlines()
    assert said[:2] == [
        "k1 2, b 0.4: map 1.6000 (default 0.5000; 6 settings tried)",
        "k1: at the edge of the 6 settings tried",
    ]


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["evaluate", "--qrels", "qrels.txt", "--run", "qrels.txt", "--run", "docs.jsonl"], "--run"),
        (["search", "--docs", "docs.jsonl", "--k", "3", "--k=4"], "--k"),
        (["cache", "ls", "--storage", "a", "--storage", "b"], "--storage"),
        (["train", "--config", "a.yaml", "--out", "x", "trainer.niters=1", "--out", "x"], "--out"),
    ],
)
def test_an_option_with_one_value_is_not_given_twice(
    args: list[str], named: str, folder: Path, called: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(args) == 2 and called == []
    err = capsys.readouterr().err
    assert f"error: {named} takes one value, but is given 2 times\n  -> see: rankcli " in err


def test_options_that_may_repeat_may_repeat(folder: Path, called: list[dict[str, Any]]) -> None:
    assert run(["train", "--config", "a.yaml", "--config", "a.yaml", "--json", "--json"]) == 0 and len(called) == 1
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        for each in (command, *getattr(command, "commands", {}).values()):
            assert isinstance(each, (Command, Group)), f"{name} takes the last of several values"


def test_train_gets_the_configuration_and_a_directory_named_after_it(
    folder: Path, called: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "--config", "a.yaml", "trainer.niters=2", "--dry-run"]) == 0
    assert called[0]["args"][0].trainer.niters == 2
    assert (called[0]["out"], called[0]["overwrite"], called[0]["dry_run"]) == (Path("runs/a"), False, True)
    assert capsys.readouterr().out == "done\n"
    assert run(["train", "--config", "a.yaml", "--out", "o", "--overwrite", "--json"]) == 0
    assert (called[1]["out"], called[1]["overwrite"], called[1]["dry_run"]) == (Path("o"), True, False)
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1, "n": 1}


def test_convert_gets_the_split(folder: Path, called: list[dict[str, Any]]) -> None:
    assert run(["convert", "--config", "a.yaml", "--split", "dev"]) == 0
    assert called[0]["split"] == "dev" and called[0]["args"][0].sampler.nneg == 7
    assert run(["convert", "--config", "a.yaml", "--split", "dev/more"]) == 0
    assert called[1]["split"] == "dev/more", "which sets there are the pipeline knows, from the configuration"


def test_rerank_gets_its_options(folder: Path, called: list[dict[str, Any]]) -> None:
    assert run(["rerank", "--model", "runs/a", "--output", "out.run", "--weights", "iter:3", "--depth", "5"]) == 0
    assert called[0] == {
        "args": (),
        "model": "runs/a",
        "weights": "iter:3",
        "docs": None,
        "queries": None,
        "run": None,
        "output": Path("out.run"),
        "depth": 5,
        "split": "test",
        "features": None,
        "topics": (),
        "mix": "none",
        "probability": False,
        "evalbatch": 0,
        "amp": "none",
        "strategy": "auto",
    }
    assert run(["rerank", "--model", "m", "--output", "o", "--docs", "ir_datasets:vaswani", "--run", "none.run"]) == 2
    assert run(["rerank", "--model", "m", "--output", "o", "--docs", "none.jsonl"]) == 2
    for mix, given in (("auto", "auto"), ("0.25", 0.25)):
        assert run(["rerank", "--model", "m", "--output", "o", "--mix", mix]) == 0 and called[-1]["mix"] == given
    for wrong in ("1.5", "nan", "half"):
        assert run(["rerank", "--model", "m", "--output", "o", "--mix", wrong]) == 2


@pytest.mark.parametrize("verb", ["train", "convert"])
def test_inputs_are_read_anew_when_that_is_asked_for(
    verb: str, folder: Path, called: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime("docs.jsonl", ns=(1, 1))
    right = input_sha256("docs.jsonl")
    memory = folder / "cache" / "input-hashes"
    memory.write_bytes(sealed({"files": [[*row[:-1], "wrong"] for row in unsealed(memory.read_bytes())["files"]]}))
    seen: list[str] = []
    monkeypatch.setattr(train, "train", lambda *args, **kwargs: seen.append(input_sha256("docs.jsonl")) or DONE)
    monkeypatch.setattr(convert, "convert", lambda *args, **kwargs: seen.append(input_sha256("docs.jsonl")) or DONE)
    for more in ([], ["--verify-inputs"], []):
        assert run([verb, "--config", "a.yaml", *more]) == 0
    assert seen == ["wrong", right, right]
