"""The conventions of a shell: `-` for stdin and stdout, and gzip where the name says so."""

from __future__ import annotations

import gzip
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rankcli.cli import run
from rankcli.log import say
from tests.conftest import write_collection

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


def test_an_output_is_overwritten_only_with_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_collection(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    Path("old").write_text("mine")
    searched = ["search", "--docs", "docs.jsonl", "--queries", "queries.jsonl", "-o", "old"]
    taken = ["init", "--docs", "docs.jsonl", "--queries", "queries.jsonl", "--qrels", "qrels.txt", "-o", "old"]
    for args in (searched, taken, ["evaluate", "--qrels", "qrels.txt", "--run", "old", "--per-query", "old"]):
        assert run(args) == 2
        assert "error: old: this file exists and is not overwritten" in capsys.readouterr().err
    assert Path("old").read_text() == "mine"
    assert run([*searched, "--force"]) == 0 and Path("old").read_text().startswith("q0 Q0 ")
    assert run([*taken, "--force"]) == 0 and Path("old").read_text().startswith("#")


def test_quiet_leaves_warnings_and_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    Path("docs.tsv").write_text("d1\thttp://x\tone\ttwo\n")
    Path("queries.tsv").write_text("q1\tone\nq2\tnothing\n")
    words = ["search", "--docs", "docs.tsv", "--queries", "queries.tsv", "--force", "-o", "a.run"]
    assert run(words) == 0
    loud = capsys.readouterr().err.splitlines()
    shutil.rmtree("cache")
    assert run([*words, "-q"]) == 0
    assert capsys.readouterr().err.splitlines() == [line for line in loud if line.startswith("warning: ")] != loud
    assert run(["search", "-q", "--docs", "docs.tsv"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    say("heard again")
    assert capsys.readouterr().err == "heard again\n"


@pytest.mark.parametrize("home", ["", None])
def test_without_a_home_the_cache_is_not_in_the_root_of_the_file_system(home: str | None) -> None:
    env = {key: value for key, value in os.environ.items() if key not in ("HOME", "RANKCLI_CACHE")}
    env |= {"PYTHONPATH": str(ROOT)} | ({} if home is None else {"HOME": home})
    code = "import sys; from rankcli.cli import main; sys.argv[1:] = ['doctor']; main()"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    (line,) = [line for line in done.stdout.splitlines() if "cache:" in line]
    assert f"cache: {pwd.getpwuid(os.getuid()).pw_dir}/.cache/rankcli, " in line


def test_where_no_home_is_known_the_error_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unknown(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("RANKCLI_CACHE", raising=False)
    monkeypatch.setattr(Path, "expanduser", unknown)
    assert run(["cache", "ls"]) == 2
    assert capsys.readouterr().err == (
        "error: ~/.cache/rankcli: no home folder is known\n  -> set HOME or RANKCLI_CACHE\n"
    )
