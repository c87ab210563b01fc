"""The conventions of a shell: `-` for stdin and stdout, and gzip where the name says so."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rankcli.cli import run

ROOT = Path(__file__).parents[2]
SEARCH = ["search", "--docs", "docs.jsonl", "--queries", "queries.jsonl", "--output"]


@pytest.fixture
def folder(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny("TFKNRM")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_minus_is_stdout_and_stdin(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SEARCH, "plain.run"]) == 0
    capsys.readouterr()
    assert run([*SEARCH, "-"]) == 0
    out, err = capsys.readouterr()
    assert out == Path("plain.run").read_text() and "12 of 12 queries" in err and not Path("-").exists()
    judged = [sys.executable, "-m", "rankcli", "evaluate", "--qrels", "qrels.txt", "--run", "-"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    piped = subprocess.run(judged, input=out, capture_output=True, text=True, env=env)
    assert run(["evaluate", "--qrels", "qrels.txt", "--run", "plain.run"]) == 0
    assert (piped.returncode, piped.stdout) == (0, capsys.readouterr().out)


def test_dev_stdout_does_not_replace_the_file_behind_it(folder: Path) -> None:
    command = f"(echo before; {sys.executable} -m rankcli {' '.join(SEARCH)} /dev/stdout; echo after) > all"
    subprocess.run(["bash", "-c", command], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    lines = Path("all").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after") and len(lines) > 12


def test_an_output_named_gz_is_gzipped_and_equal_each_time(folder: Path) -> None:
    for name in ("plain.run", "a.run.gz", "b.run.gz"):
        assert run([*SEARCH, name]) == 0
    packed = Path("a.run.gz").read_bytes()
    assert gzip.decompress(packed) == Path("plain.run").read_bytes() and packed == Path("b.run.gz").read_bytes()


def test_a_folder_called_tensorflow_in_the_working_directory_has_no_effect(tmp_path: Path) -> None:
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise ImportError('not this one')")
    command = [sys.executable, "-m", "rankcli", "doctor", "--devices"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RANKCLI_CACHE": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert "device: " in done.stdout and "not this one" not in done.stderr
