"""`--json` of every command, really run one after the other: one object with the version of its schema."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from rankcli.cli import cli, run
from tests.cli.test_examples import MODEL, write_model
from tests.conftest import write_collection

FILES = ("--docs", "docs.jsonl", "--queries", "queries.jsonl")
CALLS = {
    "init": [("init", *FILES, "--qrels", "qrels.txt"), ("init", *FILES, "--qrels", "qrels.txt", "--dry-run")],
    "search": [("search", *FILES, "-o", "a.run"), ("search", *FILES, "-o", "b.run", "--tune", "qrels.txt")],
    "fuse": [("fuse", "--run", "a.run", "--run", "b.run", "-o", "fused.run")],
    "convert": [("convert", "small.yaml")],
    "train": [("train", "small.yaml", "--dry-run"), ("train", "small.yaml"), ("train", "small.yaml")],
    "rerank": [("rerank", "--model", "runs/small", "-o", "c.run")],
    "encode": [("encode", "--model", MODEL, *FILES, "-o", "."), ("encode", "--model", MODEL, *FILES)],
    "mine": [("mine", "--qrels", "qrels.txt", "--run", "a.run", "-o", "mined.jsonl")],
    "teach": [("teach", "--scores", "a.run", "-o", "teacher.run")],
    "clicks simulate": [
        ("clicks", "simulate", "--qrels", "qrels.txt", "--run", "a.run", "--sessions", "50", "-o", "log.jsonl")
    ],
    "clicks import": [("clicks", "import", "log.jsonl", "--run", "a.run", "-o", "sessions.jsonl")],
    "clicks evaluate": [("clicks", "evaluate", "--sessions", "sessions.jsonl", "--run", "b.run")],
    "evaluate": [
        ("evaluate", "--model", "runs/small"),
        ("evaluate", "--qrels", "qrels.txt", "--run", "a.run", "--baseline", "b.run"),
    ],
    "cache ls": [("cache", "ls"), ("cache", "ls", "--storage", "nowhere")],
    "cache verify": [("cache", "verify")],
    "cache prune": [("cache", "prune", "--older-than", "1h", "--dry-run")],
    "modules": [
        ("modules",),
        ("modules", "samplers"),
        ("modules", "samplers", "LCE"),
        ("modules", "data"),
        ("modules", "encoders", "roberta"),
    ],
    "doctor": [("doctor",)],
}


def with_json(group: click.Group, path: str = "") -> Iterator[str]:
    """The commands that have `--json`."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from with_json(command, f"{path}{name} ")
        elif any("--json" in param.opts for param in command.params):  # type: ignore[union-attr]
            yield f"{path}{name}"


def test_every_json_is_one_object_with_the_version_of_its_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert set(with_json(cli)) == set(CALLS)
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path)
    shutil.copy("docs.jsonl", "corpus.jsonl")
    write_model(Path(MODEL))
    Path("small.yaml").write_text(
        "data: {docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 3, fold: 0}}\n"
        "reranker: TFKNRM\ntrainer: {niters: 1, itersize: 8, strategy: cpu}\n"
    )
    for call in (each for calls in CALLS.values() for each in calls):
        assert run([*call, "--json"]) == 0, call
        out = capfd.readouterr().out
        assert next(iter(json.loads(out).items())) == ("schema_version", 1), call
        assert "NaN" not in out and "Infinity" not in out
