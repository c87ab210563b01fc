"""Every command that README and `--help` show, as it is written, on a small collection without a network.

A new example is found by itself. What it prints is compared with trec_eval's own code (pytrec_eval).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import click
import pytest
import pytrec_eval

from rankcli.cli import cli, run
from rankcli.config.registry import EXTRACTORS, RERANKERS
from rankcli.data.trec import read_qrels, read_run
from rankcli.encoders.config import TINY
from rankcli.extractors.base import ExtractorContext
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.saved import save_reranker, sections_of
from tests import published
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
ROW = re.compile(r"(ndcg_cut_10|map|RR@10) +([0-9].*)")  # a metric and its values


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
    write_files(tmp_path)
    Path("other.run").write_text("".join(f"q{n} Q0 d{d} 1 {24 - d} x\n" for n in range(12) for d in range(24)))
    Path("other.yaml").write_text(
        "data: {docs: corpus.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 4, fold: 1}}\n"
        f"reranker: {{name: biencoder, pretrained: {MODEL}}}\n"
    )
    write_model(tmp_path / MODEL)
    return tmp_path


def write_files(folder: Path) -> None:
    """The collection of 24 documents, and `scifact` in BEIR's layout."""
    write_collection(folder)
    (folder / "docs.jsonl").rename(folder / "corpus.jsonl")
    shutil.copy(folder / "queries.jsonl", folder / "dev.jsonl")
    shutil.copy(folder / "qrels.txt", folder / "dev.txt")
    published.beir(folder / "scifact", train=published.TRAIN, test=published.TEST)


def write_model(directory: Path) -> None:
    texts = [json.loads(line)["text"] for line in Path("corpus.jsonl").read_text().splitlines()]
    options = (
        RERANKERS.get("biencoder")(encoder=replace(TINY, max_positions=512)),
        EXTRACTORS.get("apart")(vocab_size=60),
    )
    extractor = options[1].build(ExtractorContext(texts=lambda: texts))
    reranker = options[0].build(RerankerContext(extractor=extractor, seed=1, dtype="float32"))
    directory.parent.mkdir()
    save_reranker(reranker, extractor, sections_of(*options), directory)
    (directory / "rankcli.json").unlink()  # as it is published


def test_every_example_does_what_it_says(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compared = 0
    for example in filter(None, examples()):
        if reason_not_to_run(example) is None:
            words = shlex.split(example)
            with fresh_folder(user) if words[1] == "init" and Path("config.yaml").exists() else nullcontext():
                code, out = done(words, capsys)
            assert code == 0, f"{example}: {out}"
            compared += compare(words, out)
    assert compared >= 9 + 9 + 9 + 4 + 6  # numbers of train, evaluate, and tests of two further runs


@contextmanager
def fresh_folder(user: Path) -> Iterator[None]:
    """Work in a folder with the collection alone: `init` does not replace the configuration that is there."""
    with tempfile.TemporaryDirectory(dir=user) as folder:
        write_files(Path(folder))
        os.chdir(folder)
        yield
        os.chdir(user)


def done(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and stdout of a command; stderr, too, where it fails. `> FILE` is the shell's."""
    command, _, target = " ".join(map(shlex.quote, words[1:])).partition(" '>' ")
    code = run(shlex.split(command))
    out, err = capsys.readouterr()
    if target:
        Path(target).write_text(out)
    return code, out + err if code else out


def compare(words: list[str], out: str) -> int:
    """Compare the last table of a training or an evaluation with trec_eval's values, and count the numbers."""
    options = dict(zip(words, words[1:], strict=False))
    if words[1] not in ("train", "evaluate") or "--dry-run" in words:
        return 0
    directory = Path(options.get("--model") or options.get("--out") or "runs/config")
    qrels = options.get("--qrels", str(directory / "test.qrels"))
    stages = {0: ".first_stage", 1: "", 4: ".interpolated"}  # by the column of the table
    given = {column: options[name] for column, name in {0: "--baseline", 1: "--run"}.items() if name in options}
    runs = given or {column: str(directory / f"test{stage}.run") for column, stage in stages.items()}
    rows = [found.groups() for line in out.splitlines() if (found := ROW.fullmatch(line))][-3:]
    for metric, values in rows:
        shown = {column: float(values.split()[column]) for column in runs}
        wanted = {column: value_of(metric, qrels, run) for column, run in runs.items()}
        assert shown == pytest.approx(wanted, abs=5.1e-5), words  # four places are printed
    return len(rows) * len(runs)


def value_of(metric: str, qrels: str, run: str) -> float:
    """The mean by trec_eval's code over all judged queries: those that the run lacks count as 0."""
    judged: dict[str, dict[str, int]] = read_qrels(qrels)
    scores = {qid: dict(found) for qid, found in read_run(run).items() if qid in judged}
    measure = {"RR@10": "recip_rank"}.get(metric, metric)
    if measure == "recip_rank":
        scores = {qid: dict(sorted(found.items(), key=lambda pair: pair[::-1])[-10:]) for qid, found in scores.items()}
    values = pytrec_eval.RelevanceEvaluator(judged, {measure}).evaluate(scores)
    return float(sum(value[measure] for value in values.values()) / len(judged))
