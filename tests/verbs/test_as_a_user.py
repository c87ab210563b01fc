"""The commands as they are typed: what stands on stdout and stderr, exit codes, interruption."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.checked import plain

ROOT = Path(__file__).parents[2]
SAID = re.compile(
    r"(warning: |report: |memory: about |converting \d+ |train: |dev: |test: |iteration \d+: |"
    r"training a WordPiece vocabulary |training: \d+/|reading |loading TensorFlow$|"
    r"reranking( \w+)?: \d+/|tokenising|writing|searching)"
)
TABLE = re.compile(
    r"(dev|test)?$|(metric|ndcg_cut_10|map|RR@10)  |\d+ queries; p_holm: |alpha \(|"
    r"expected calibration error |trained \d+ s at .* run directory: "
)


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "RANKCLI_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


def rankcli(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rankcli", *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment(folder))


@pytest.fixture
def folder(tiny: Any, tmp_path: Path) -> Path:
    """The tiny collection with `TFKNRM.yaml` and `crossencoder.yaml`."""
    tiny("TFKNRM")
    tiny("crossencoder")
    return tmp_path


@pytest.mark.parametrize("config", ["TFKNRM", "crossencoder"])
def test_a_successful_run_prints_no_line_that_is_not_ours(config: str, folder: Path) -> None:
    done = rankcli(folder, "train", "--config", f"{config}.yaml", "trainer.niters=1")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if not TABLE.match(line)] == []
    assert [line for line in done.stderr.splitlines() if not SAID.match(line)] == []
    assert "iteration 1: dev " in done.stderr and "interpolated" in done.stdout
    again = rankcli(folder, "rerank", "--model", f"runs/{config}", "--output", "t.run", "--depth", "20")
    assert again.returncode == 0, again.stderr
    assert re.fullmatch(r"t\.run: \d+ lines for 4 queries, \d+ pairs scored\n", again.stdout)
    assert [line for line in again.stderr.splitlines() if not SAID.match(line)] == []
    assert (folder / "t.run").read_bytes() == (folder / "runs" / config / "test.run").read_bytes()
    noted = json.loads((folder / "runs" / config / "run.json").read_text())
    assert "CPU:0" in noted["devices"] and noted["command"][1:3] == ["train", "--config"]


def test_json_is_all_of_stdout(folder: Path) -> None:
    found = rankcli(folder, "train", "--config", "TFKNRM.yaml", "trainer.niters=1", "--json")
    assert json.loads(found.stdout) == plain((folder / "runs" / "TFKNRM" / "result.json").read_text())
    plan = json.loads(rankcli(folder, "train", "--config", "TFKNRM.yaml", "--dry-run", "--json").stdout)
    assert plan["schema_version"] == 1 and plan["steps"] == 12 and plan["samples"]["train"] == 24
    files = ["--docs", "docs.jsonl", "--queries", "queries.jsonl"]
    tuned = json.loads(rankcli(folder, "search", *files, "--output", "b.run", "--tune", "qrels.txt", "--json").stdout)
    best = max(row["ndcg_cut_10"] for row in tuned["table"])
    chosen = next(row for row in tuned["table"] if (row["k1"], row["b"]) == (tuned["k1"], tuned["b"]))
    assert tuned["schema_version"] == 1 and len(tuned["table"]) == 25 and chosen["ndcg_cut_10"] == best
    judged = ["--qrels", "qrels.txt", "--run", "runs/TFKNRM/test.run", "--baseline", "b.run", "--metric", "map"]
    compared = json.loads(rankcli(folder, "evaluate", *judged, "--json").stdout)
    keys = {"mean", "baseline", "delta", "p", "p_rand", "p_holm", "wins", "ties", "losses"}
    assert compared["queries"] == 12 and compared["metrics"]["map"].keys() == keys
    assert compared["metrics"]["map"]["losses"] >= 8  # queries that the test run lacks count as 0


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupted_training_goes_on_with_the_same_command(signum: int, code: int, folder: Path) -> None:
    args = ["train", "--config", "TFKNRM.yaml", "trainer.niters=25"]
    command = [sys.executable, "-m", "rankcli", *args]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment(folder),
        preexec_fn=lambda: signal.signal(signum, signal.SIG_DFL),  # it is ignored where the tests run under nohup
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("iteration 2:"):
            process.send_signal(signum)
            break
    rest = process.communicate()[1]
    assert process.returncode == code, rest
    assert "run the same command again to go on" in rest and "Traceback" not in rest
    assert not (folder / "runs" / "TFKNRM" / "result.json").exists()
    done = rankcli(folder, *args)
    assert done.returncode == 0, done.stderr
    assert "iteration 1:" not in done.stderr and "iteration 25:" in done.stderr


INIT = ["init", "--docs", "docs.jsonl", "--queries", "queries.jsonl", "--qrels", "qrels.txt"]


def test_what_init_writes_can_be_tried_at_once(folder: Path) -> None:
    assert rankcli(folder, *INIT).returncode == 0
    dry = ["train", "--config", "config.yaml", "--dry-run"]
    offline = rankcli(folder, *dry)
    assert offline.returncode == 4 and "all-MiniLM-L6-v2" in offline.stderr  # the default reranker is downloaded
    done = rankcli(folder, *dry, "reranker=TFKNRM")
    assert done.returncode == 0, done.stderr
    assert "12 judged queries" in done.stdout and "records of run " in done.stdout
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["train", "--config", "none.yaml"], 2, "none.yaml: cannot read the configuration"),
        (["train", "--config", "TFKNRM.yaml", "data.docs=none"], 2, "data.docs: no such file"),
        (["train", "--config", "TFKNRM.yaml", "niters=3"], 2, "niters: unknown key; did you mean 'trainer.niters'?"),
        (["train", "--config", "TFKNRM.yaml", "docs=d"], 2, "docs: unknown key; did you mean 'data.docs'?"),
        (["train", "--config", "TFKNRM.yaml", "metrics.optimize=ndgc"], 2, "unknown metric 'ndgc'"),
        (["train", "--config", "TFKNRM.yaml", "data.qrels=shifted.txt"], 3, "no query id is among the queries"),
        (["train", "--config", "TFKNRM.yaml", "data.queries=empty"], 3, "empty:1: the file is empty"),
        (["train", "--config", "TFKNRM.yaml", "--out", "empty/run"], 2, "empty/run: cannot be made"),
        (["train", "--config", "TFKNRM.yaml", "--out", "empty"], 2, "empty: this is a file"),
        (["rerank", "--model", "./none", "--output", "out.run"], 2, "./none: no such directory"),
        (["rerank", "--model", "x", "--output", "no/out.run"], 2, "There is no folder no"),
        (["rerank", "--model", "x", "--output", "."], 2, ". is a folder"),
        (["rerank", "--model", "x", "--output", "out.run", "--depth", "0"], 2, "0 is not in the range"),
        (["evaluate", "--qrels", "qrels.txt", "--run", "docs.jsonl"], 3, "docs.jsonl:1: "),
        (["evaluate", "--qrels", "qrels.txt", "--run", "empty"], 3, "empty:1: the file is empty"),
        (["evaluate", "--qrels", "qrels.txt", "--run", "a.run", "--metric", "foo"], 2, "unknown metric 'foo'"),
        (["evaluate", "--qrels", "shifted.txt", "--run", "a.run"], 3, "a.run: no judged query has a retrieved"),
    ],
)
def test_wrong_input_has_its_exit_code_and_says_where(
    args: list[str], code: int, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    from rankcli.cli import run

    monkeypatch.chdir(folder)
    (folder / "empty").write_text("")
    (folder / "shifted.txt").write_text("".join(f"t{n} 0 d{n} 1\n" for n in range(9)))
    (folder / "a.run").write_text("q0 Q0 d0 1 2.0 x\n")
    assert run(args) == code
    out, err = capfd.readouterr()
    assert out == "" and said in err and "Traceback" not in err
    assert not (folder / "runs").exists()
