"""Every command that README and `--help` show, as it is written, on a small collection without a network.

A new example is found by itself. What it prints is compared with trec_eval's own code (pytrec_eval).
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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
from tests.conftest import write_collection

ROOT = Path(__file__).parents[2]
MODEL = "sentence-transformers/all-MiniLM-L6-v2"  # of the configuration that `init` writes: a folder here, and tiny
NOT_RUN = {
    "gs://": "needs a bucket; tests/verbs/test_gcs_run.py",
    "docker": "needs a Docker engine",
    "pip install": "needs the network",
    "scripts/": "installs; tests/test_scripts.py",
    "source .venv": "of the shell; tests/test_scripts.py",
}


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
    yield from filter(None, map(str.strip, shown.partition("\n\n")[0].splitlines()))
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
    (tmp_path / "scifact" / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl"):
        shutil.copy(name, "scifact")
    for part, numbers in {"train": range(8), "test": range(8, 12)}.items():
        rows = "".join(f"q{n}\td{2 * n}\t1\n" for n in numbers)
        Path(f"scifact/qrels/{part}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")
    Path("other.run").write_text("".join(f"q{n} Q0 d{d} 1 {24 - d} x\n" for n in range(12) for d in range(24)))
    Path("other.yaml").write_text(
        "data: {docs: corpus.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 4, fold: 1}}\n"
        f"reranker: {{name: biencoder, pretrained: {MODEL}}}\n"
    )
    write_model(tmp_path / MODEL)
    shutil.copy("queries.jsonl", "new.jsonl")
    write_features()
    return tmp_path


def write_features() -> None:
    """Files of features, a model of them in `runs/ltr`, and what it makes of another file."""
    lines = [f"{n % 3} qid:{n // 4} 1:{n % 3} 2:{n * 7 % 5}\n" for n in range(48)]
    for name in ("rank.train", "rank.test", "new.txt"):
        Path(name).write_text("".join(lines))
    assert run(["init", "--features", "rank.train", "--output", "ltr.yaml"]) == 0
    assert run(["train", "--config", "ltr.yaml", "--out", "runs/ltr", "trainer.niters=1", "trainer.itersize=8"]) == 0
    assert run(["rerank", "--model", "runs/ltr", "--features", "rank.test", "--output", "ltr.run"]) == 0


def write_model(directory: Path) -> None:
    texts = [json.loads(line)["text"] for line in Path("corpus.jsonl").read_text().splitlines()]
    kind = RERANKERS.get("biencoder")
    options = (kind(encoder=dataclasses.replace(TINY, max_positions=128)), EXTRACTORS.get("apart")(vocab_size=60))
    extractor = options[1].build(ExtractorContext(texts=lambda: texts))
    reranker = options[0].build(RerankerContext(extractor=extractor, seed=1, dtype="float32"))
    directory.parent.mkdir()
    save_reranker(reranker, extractor, sections_of(*options), directory)
    (directory / "rankcli.json").unlink()  # as it is published


def test_every_example_works_and_prints_what_trec_eval_computes(user: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wrong = {}
    for example in examples():
        if reason_not_to_run(example) is None:
            for output in written(example):  # nothing is overwritten
                output.unlink(missing_ok=True)
            code = execute(example)
            out, err = capfd.readouterr()
            if code or not figures_are_right(example, out):
                wrong[example] = (code, out, err)
    assert not wrong, "\n\n".join(f"{example}: exit {code}\n{out}{err}" for example, (code, out, err) in wrong.items())


def written(example: str) -> list[Path]:
    """The file that a line writes."""
    words = shlex.split(example)
    named = [words[words.index(option) + 1] for option in ("--output", "-o") if option in words]
    return [Path(name) for name in named or (["config.yaml"] if words[1:2] == ["init"] else [])]


def execute(example: str) -> int:
    """Run a line in this process or, where it needs a shell, in one that has `rankcli`."""
    words = shlex.split(example)
    if words[0] == "rankcli" and not re.search("[|<>]", example):
        return run(words[1:])
    shell = f'rankcli() {{ {shlex.quote(sys.executable)} -m rankcli "$@"; }}; set -e -o pipefail; {example}'
    return subprocess.run(["bash", "-c", shell], env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode


def figures_are_right(example: str, out: str) -> bool:
    """Compare the tables that `train` and `evaluate` print, and the figure of `search --tune`."""
    words = shlex.split(example)
    options = dict(zip(words, words[1:], strict=False))
    if words[:2] == ["rankcli", "train"] and "--dry-run" not in words:
        directory = Path(options.get("--out") or f"runs/{Path(options['--config']).stem}")
        return table_is_right(out[out.index("test\n") :], directory / "test.qrels", stages(directory))
    if words[:2] == ["rankcli", "evaluate"] and "--features" not in words:
        model = Path(options.get("--model", "."))
        runs = [Path(options[name]) for name in ("--baseline", "--run") if name in words]
        return table_is_right(out, Path(options.get("--qrels") or model / "test.qrels"), runs or stages(model))
    if "--tune" in words:
        found = re.search(r"k1 \S+, b \S+ (\S+) ([0-9.]+) ", out.replace(":", ""))
        assert found is not None
        mean = means(Path(options["--tune"]), Path(options["--output"]))(found[1])
        return f"{mean:.4f}" == found[2]
    return True


def stages(directory: Path) -> list[Path]:
    return [directory / name for name in ("test.first_stage.run", "test.run", "test.interpolated.run")]


def table_is_right(out: str, qrels: Path, runs: Sequence[Path]) -> bool:
    """True if every row of a table has trec_eval's means of these runs, in this order; there must be rows."""
    found = [means(qrels, path) for path in runs]
    rows = [line.split() for line in out.splitlines() if re.match(r"\S+ +\d\.\d{4}\b", line)]
    places = (1, 2, 5)[: len(runs)]  # change and p stand before the third mean
    return bool(rows) and all(
        [float(row[place]) for place in places] == pytest.approx([mean(row[0]) for mean in found], rel=0, abs=5.001e-5)
        for row in rows
    )


def means(qrels: Path, run_file: Path) -> Any:
    """A function from a metric to its mean over all queries of `qrels`, by trec_eval's own code."""
    files = (read_qrels(qrels), read_run(run_file))
    judged, retrieved = ({qid: dict(row) for qid, row in each.items()} for each in files)
    measures = {"ndcg_cut_10", "map", "recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(judged, measures).evaluate(retrieved)

    def mean(metric: str) -> float:
        if metric == "RR@10":  # trec_eval has the reciprocal rank at any depth
            ranks = [row["recip_rank"] for row in found.values()]
            return sum(rank for rank in ranks if rank >= 0.1) / len(judged)
        return sum(row[metric] for row in found.values()) / len(judged)

    return mean


def test_what_is_not_run_is_there_and_has_a_reason() -> None:
    lines = examples()
    assert [part for part in NOT_RUN if not any(part in line for line in lines)] == []
    assert len([line for line in lines if reason_not_to_run(line) is None]) >= 30
