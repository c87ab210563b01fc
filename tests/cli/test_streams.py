"""The standard streams may be closed, full or read by nobody: a command goes on, and succeeds if and only if it did."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rankcli.cli import run, schema

ROOT = Path(__file__).parents[2]
RANKCLI = f"{sys.executable} -m rankcli"
SEARCH = "search --docs docs.jsonl --queries queries.jsonl --output found.run"


def bash(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = command.replace("rankcli", RANKCLI, 1)
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=folder, env=env)


@pytest.fixture
def folder(tiny: Any, tmp_path: Path) -> Path:
    """With a config of TFKNRM."""
    tiny("TFKNRM")
    return tmp_path


@pytest.mark.parametrize(
    "streams", ["2> >(true)", "2>&-", "2>/dev/full", ">&-", "<&- >&- 2>&-", "| true; exit ${PIPESTATUS[0]}"]
)
def test_a_command_whose_messages_are_lost_still_does_its_work(streams: str, folder: Path) -> None:
    """A BM25 search that tunes says things before, between and after its work."""
    done = bash(f"rankcli {SEARCH} --tune qrels.txt {streams}", folder)
    lines = (folder / "found.run").read_text().splitlines()
    assert (done.returncode, len(lines) > 12) == (0, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_failure_keeps_its_exit_code_if_nobody_reads_stderr(folder: Path) -> None:
    for streams in ("2> >(true)", "2>&-", "2>/dev/full"):
        assert bash(f"rankcli {SEARCH} --tune docs.jsonl {streams}", folder).returncode == 3


@pytest.mark.parametrize("streams", ["2> >(head -1)", "2>&-"])
def test_a_training_does_not_end_with_its_log(streams: str, folder: Path) -> None:
    done = bash(f"rankcli train --config TFKNRM.yaml trainer.niters=2 {streams}", folder)
    assert done.returncode == 0
    assert json.loads((folder / "runs" / "TFKNRM" / "result.json").read_text())["splits"]


def test_a_result_that_cannot_be_written_is_a_failure_with_its_place(folder: Path) -> None:
    done = bash(f"rankcli {SEARCH} >/dev/full", folder)
    assert (done.returncode, "\nerror: stdout: No space left on device\n" in done.stderr) == (6, True)
    assert (folder / "found.run").exists()


def test_a_broken_pipe_within_the_work_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise BrokenPipeError(32, "Broken pipe", "the worker's pipe")

    monkeypatch.setattr(schema.command, "callback", fail)
    assert run(["schema"]) == 6
    assert capsys.readouterr().err.startswith("error: the worker's pipe: the reader has stopped before the end\n")


def test_a_closed_terminal_interrupts_like_sigterm(folder: Path) -> None:
    code = "import os, signal, sys; from rankcli.cli import main; signal.alarm(30)\n"
    code += "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
    code += "sys.addaudithook(lambda name, _: name == 'sqlite3.connect' and os.kill(os.getpid(), signal.SIGHUP))\n"
    code += f"main({SEARCH.split()})"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=env)
    assert (done.returncode, done.stderr.split()[-1]) == (129, "interrupted")
    assert not list(folder.glob("found.run*"))


STATES = [
    "2> >(true)",
    "2>&-",
    "2>/dev/full",
    ">&-",
    ">/dev/full",
    "<&- >&- 2>&-",
    "2>&1 | true; exit ${PIPESTATUS[0]}",
]
PRODUCTS = {  # command: what it promises to leave
    "search --docs docs.jsonl --queries queries.jsonl -o made.run": "made.run",
    "fuse --run first.run --run first.run -o made.run": "made.run",
    "init --docs docs.jsonl --queries queries.jsonl --qrels qrels.txt -o made.yaml": "made.yaml",
    "evaluate --qrels qrels.txt --run first.run --per-query made.json": "made.json",
    "mine --qrels qrels.txt --run first.run -o made.jsonl": "made.jsonl",
    "teach --scores first.run -o made.run": "made.run",
    "clicks simulate --qrels qrels.txt --run first.run --sessions 9 -o made.jsonl": "made.jsonl",
    "cache prune --storage old --older-than 1h": "old",
    "convert TFKNRM.yaml": "cache/records",
    "train TFKNRM.yaml trainer.niters=1 -o made": "made/result.json",
    "rerank --model model --docs docs.jsonl --queries queries.jsonl --run first.run -o made.run": "made.run",
}
COMPUTING = ("convert", "train", "rerank", "encode")
LIGHT = [command for command in PRODUCTS if command.split()[0] not in COMPUTING]


def check_all(folder: Path, commands: list[str], states: list[str]) -> None:
    """Whatever the streams are, a command ends with 0 if and only if its output is there; it never ends with 1."""
    (folder / "old").mkdir()
    assert bash(f"rankcli {next(iter(PRODUCTS)).replace('made', 'first')}", folder).returncode == 0
    if any("--model" in command for command in commands):
        assert bash("rankcli train TFKNRM.yaml trainer.niters=1 -o model", folder).returncode == 0
    for command in commands:
        product = folder / PRODUCTS[command]
        for state in states:
            code = bash(f"rankcli {command} {state}", folder).returncode
            full = state == ">/dev/full"
            assert code == (6 if full else 0) and product.exists(), (command, state, code)
            if product.name != "old":
                shutil.rmtree(product.parent if product.name == "result.json" else product, ignore_errors=True)
                product.unlink(missing_ok=True)


def test_exit_0_means_that_the_output_exists_whatever_the_streams_are(folder: Path) -> None:
    check_all(folder, LIGHT, STATES)


def test_the_same_of_commands_that_compute(folder: Path) -> None:
    check_all(folder, [command for command in PRODUCTS if command not in LIGHT], ["2>&-"])


@pytest.mark.slow
def test_the_same_of_commands_that_compute_in_every_state(folder: Path) -> None:
    check_all(folder, [command for command in PRODUCTS if command not in LIGHT], STATES)
