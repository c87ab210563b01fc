"""Every command that README and `--help` show, as it is written, on a small collection without a network.

A new example is found by itself. What it prints is compared with trec_eval's own code (pytrec_eval).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import pytrec_eval

from rankcli.cli import cli, run
from rankcli.config.registry import EXTRACTORS, RERANKERS
from rankcli.data.trec import read_qrels, read_run
from rankcli.extractors.base import ExtractorContext
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.saved import save_reranker, sections_of
from tests.conftest import write_collection

ROOT = Path(__file__).parents[2]
MODEL = "sentence-transformers/all-MiniLM-L6-v2"  # of the configuration that `init` writes: a folder here, and tiny
NOT_RUN = {
    "gs://": "needs a bucket; tests/verbs/test_gcs_run.py",
    "docker": "needs a Docker engine",
    "git clone": "needs the network",
    "pip install": "needs the network",
    "scripts/": "installs; tests/test_scripts.py",
    "source .venv": "of the shell",
}
ROW = re.compile(r"(\S+) +([0-9.]+)( .*)?")  # a metric and its values


def examples_of_readme() -> Iterator[str]:
    """The lines of all shell blocks, without comments."""
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            command = shlex.split(line, comments=True)
            if command:
                yield re.sub(r"\s+#.*", "", line).strip()


def examples_of_help(command: click.Command, name: str) -> Iterator[str]:
    """The lines of `Example:` of a command and of those below it."""
    _, _, shown = (command.help or "").partition("Example:\n")
    yield from (line.strip() for line in shown.partition("\n\n")[0].splitlines())
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in command.list_commands(context):
            found = command.get_command(context, each)
            assert found is not None
            yield from examples_of_help(found, each)


def examples() -> list[str]:
    return list(dict.fromkeys([*examples_of_readme(), *examples_of_help(cli, "rankcli")]))


def reason_not_to_run(example: str) -> str | None:
    return next((reason for part, reason in NOT_RUN.items() if part in example), None)


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user who has a collection, further queries, a run and a configuration of somebody else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    write_collection(tmp_path)
    (tmp_path / "docs.jsonl").rename("corpus.jsonl")
    shutil.copy("queries.jsonl", "dev.jsonl")
    shutil.copy("qrels.txt", "dev.txt")
    Path("other.run").write_text("".join(f"q{n} Q0 d{d} 1 {24 - d} x\n" for n in range(12) for d in range(24)))
    Path("other.yaml").write_text(
        "data: {docs: corpus.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 4, fold: 1}}\n"
        f"reranker: {{name: biencoder, pretrained: {MODEL}}}\n"
    )
    write_model(tmp_path / MODEL)
    return tmp_path


def write_model(directory: Path) -> None:
    texts = [json.loads(line)["text"] for line in Path("corpus.jsonl").read_text().splitlines()]
    kind = RERANKERS.get("biencoder")
    encoder = {**dataclasses.asdict(TINY), "max_positions": 128}
    options = (kind(encoder=encoder), EXTRACTORS.get("apart")(vocab_size=60))
    extractor = options[1].build(ExtractorContext(texts=lambda: texts))
    reranker = options[0].build(RerankerContext(extractor=extractor, seed=1, dtype="float32"))
    directory.parent.mkdir()
    save_reranker(reranker, extractor, sections_of(*options), directory)
    (directory / "rankcli.json").unlink()  # as it is published


def test_every_example_does_what_it_says(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import time
    for example in examples():
        if reason_not_to_run(example):
            continue
        before = time.time()
        code, out = done(example, capsys)
        sys.__stderr__.write(f"{time.time()-before:.1f} {code} {example}\n{out}")


def done(example: str, capsys: Any) -> tuple[int, str]:
    code = run(shlex.split(example)[1:])
    out, err = capsys.readouterr()
    if code: out += err
    return code, out
