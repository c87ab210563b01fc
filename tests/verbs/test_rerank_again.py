"""A rerank that is stopped or killed goes on with the same command, and ends with the bytes of one left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rankcli.cli import run
from rankcli.runs import stream
from rankcli.runs.journal import Journal
from rankcli.training.predict import Predictor
from rankcli.verbs.rerank import rerank
from rankcli.verbs.train import train

SLOW = """
import sys, time
from rankcli.cli import main
from rankcli.training.predict import Predictor
compute = Predictor._compute
def slowly(self, batch):
    time.sleep({seconds})
    return compute(self, batch)
Predictor._compute = slowly
main(sys.argv[1:])
"""


@pytest.fixture
def asked(tiny: Any, tmp_path: Path) -> dict[str, Any]:
    """The arguments of a rerank of twelve queries, each a block, in batches of five pairs."""
    train(tiny("TFKNRM", "trainer.niters=1", "metrics.report=[map]"), out=tmp_path / "run")
    files = {"docs": str(tmp_path / "docs.jsonl"), "queries": str(tmp_path / "queries.jsonl")}
    given = [f"--{name}={path}" for name, path in files.items()]
    assert run(["search", *given, f"--output={tmp_path / 'bm25.run'}"]) == 0
    return {"model": str(tmp_path / "run"), "run": str(tmp_path / "bm25.run"), "evalbatch": 5, **files}


def stop_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    """Let the next rerank be interrupted when it has kept some batches."""
    left, add = iter(range(batches)), Journal.add

    def adding(self: Journal, scores: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        add(self, scores)

    monkeypatch.setattr(Journal, "add", adding)


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "cache" / "rerank").glob("*/scores"))


@pytest.mark.parametrize("mix", ["none", 0.3])
def test_stopped_five_times_it_ends_with_the_same_bytes(
    mix: Any, asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stream, "BLOCK", 20)
    rerank(output=tmp_path / "whole.run", mix=mix, **asked)
    assert not kept(tmp_path)
    computed: list[int] = []
    compute = Predictor._compute

    def counted(self: Predictor, batch: Any) -> Any:
        computed.append(1)
        return compute(self, batch)

    monkeypatch.setattr(Predictor, "_compute", counted)
    rerank(output=tmp_path / "whole.run", mix=mix, **asked)
    whole = len(computed)
    capsys.readouterr()
    for batches in (0, 3, 1, 7, 4):
        with monkeypatch.context() as patch:
            stop_after(patch, batches)
            with pytest.raises(KeyboardInterrupt):
                rerank(output=tmp_path / "out.run", mix=mix, **asked)
        assert not (tmp_path / "out.run").exists()
    computed.clear()
    rerank(output=tmp_path / "out.run", mix=mix, **asked)
    assert (tmp_path / "out.run").read_bytes() == (tmp_path / "whole.run").read_bytes()
    assert len(computed) == whole - 15 and not (tmp_path / "cache" / "rerank").exists()
    assert capsys.readouterr().err.count("out.run: going on after") == 4


def test_what_was_kept_of_other_scores_is_not_used(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rerank(output=tmp_path / "whole.run", depth=4, **asked)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            rerank(output=tmp_path / "out.run", **asked)
    capsys.readouterr()
    rerank(output=tmp_path / "out.run", depth=4, **asked)
    assert "out.run: begun anew, because what was kept of it differs in depth\n" in capsys.readouterr().err
    assert (tmp_path / "out.run").read_bytes() == (tmp_path / "whole.run").read_bytes() and not kept(tmp_path)


@pytest.mark.parametrize("spoiled", ["cut", "bit"])
def test_scores_that_are_cut_off_or_damaged_are_made_again(
    spoiled: str, asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    rerank(output=tmp_path / "whole.run", **asked)
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            rerank(output=tmp_path / "out.run", **asked)
    (path,) = kept(tmp_path)
    content = bytearray(path.read_bytes())
    lines = content.splitlines(keepends=True)
    content[len(content) - len(lines[-1]) + 20] ^= 1
    path.write_bytes(content if spoiled == "bit" else content[:-7])
    capsys.readouterr()
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            rerank(output=tmp_path / "out.run", **asked)
    err = capsys.readouterr().err
    assert "are incomplete and made again" in err and "going on after 20 pairs" in err
    rerank(output=tmp_path / "out.run", **asked)
    err = capsys.readouterr().err
    assert "are incomplete" not in err and "going on after 30 pairs" in err
    assert (tmp_path / "out.run").read_bytes() == (tmp_path / "whole.run").read_bytes()


def started(asked: dict[str, Any], folder: Path, seconds: float) -> subprocess.Popen[str]:
    """The command as a process, with batches that take some seconds."""
    args = [f"--{name}={value}" for name, value in asked.items()]
    command = [sys.executable, "-c", SLOW.format(seconds=seconds), "rerank", *args, f"--output={folder / 'out.run'}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)


@pytest.mark.faults
def test_signals_are_answered_at_once_and_a_kill_loses_no_batch(asked: dict[str, Any], tmp_path: Path) -> None:
    rerank(output=tmp_path / "whole.run", **asked)
    for signum, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9), (signal.SIGTERM, 143)):
        before = sum(path.stat().st_size for path in kept(tmp_path))
        process = started(asked, tmp_path, 5 if signum != signal.SIGKILL else 0.3)
        while process.poll() is None and sum(path.stat().st_size for path in kept(tmp_path)) <= before:
            time.sleep(0.01)
        begun = time.monotonic()
        process.send_signal(signum)
        err = process.communicate(timeout=30)[1]
        assert process.returncode == code, err
        if signum != signal.SIGKILL:
            assert time.monotonic() - begun < 4  # a batch takes 5 seconds, so nothing waited for its end
            name = signal.Signals(signum).name
            assert f"{name}: stopping; what is scored is kept, and the same command goes on\n" in err
        assert not (tmp_path / "out.run").exists()
    process = started(asked, tmp_path, 0)
    err = process.communicate(timeout=120)[1]
    assert process.returncode == 0 and "out.run: going on after" in err
    assert (tmp_path / "out.run").read_bytes() == (tmp_path / "whole.run").read_bytes()
