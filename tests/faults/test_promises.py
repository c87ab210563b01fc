"""Promises over whole commands: what is read is verified, nothing unreadable replaced, readers need no write access."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rankcli.cli import run
from tests.checked import forge
from tests.conftest import EXTRACTORS, write_collection
from tests.faults.project import ROOT, counts

pytestmark = pytest.mark.faults
CONFIG = f"""
data: {{docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {{k: 3, fold: 0}}}}
reranker: TFKNRM
extractor: {EXTRACTORS["TFKNRM"]}
sampler: {{name: LCE, nneg: 3}}
trainer: {{batch: 2, niters: 2, itersize: 6, threshold: 10, testthreshold: 20, strategy: cpu}}
"""
COMMANDS = {
    "evaluate": ["evaluate", "--force", "--model", "run", "--per-query", "out"],
    "rerank": ["rerank", "--force", "--model", "run", "--output", "out"],
    "convert": ["convert", "--config", "config.yaml", "trainer.usecache=false", "--split", "test"],
    "verify": ["cache", "verify"],
    "repair": ["cache", "verify", "--repair"],
    "search": ["search", "--force", "--docs", "docs.jsonl", "--queries", "queries.jsonl", "--output", "out"],
    "finished": ["train", "--config", "config.yaml", "--out", "run"],
}
PASSED_OVER = ("lock", "hold", ".html", ".old-1")  # empty files, and what nobody reads


class Home(NamedTuple):
    """A collection with its cache and a finished run, in a folder of its own."""

    folder: Path

    def files(self) -> list[Path]:
        """The files of the cache and of the run that a command may read."""
        found = [path for top in ("cache", "run") for path in (self.folder / top).rglob("*") if path.is_file()]
        return sorted(path for path in found if path.stat().st_size and not path.name.endswith(PASSED_OVER))

    def copy(self, to: Path) -> Home:
        shutil.copytree(self.folder, to)
        return Home(to)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("trained")
    write_collection(folder)
    (folder / "config.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("RANKCLI_CACHE", "cache")
        assert run(["train", "--config", "config.yaml", "--out", "run"]) == 0
    yield Home(folder)


@pytest.fixture
def home(trained: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A copy, in which commands run."""
    made = trained.copy(tmp_path / "home")
    monkeypatch.chdir(made.folder)
    monkeypatch.setenv("RANKCLI_CACHE", "cache")
    return made


def output(home: Home) -> bytes:
    path = home.folder / "out"
    return path.read_bytes() if path.exists() else b""


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.mark.parametrize("command", ["evaluate", "verify", "finished"])
@counts("rounds", small=[1], full=[20])
def test_a_flipped_bit_in_any_file_is_detected_or_harmless(command: str, rounds: int, home: Home, capsys: Any) -> None:
    """Detected: another exit code than 0, but never 1, or a warning; harmless: the same output."""
    draw = random.Random(rounds)
    assert run(COMMANDS[command]) == 0
    usual, said = output(home), capsys.readouterr().out
    for path in home.files() * rounds:
        kept = path.read_bytes()
        flip(path, draw.randrange(8 * len(kept)))
        code, found = run(COMMANDS[command]), capsys.readouterr()
        told = code in (2, 3, 4, 6) or "warning" in found.err or "damage" in found.err
        assert told or (code == 0 and (output(home), found.out) == (usual, said)), (path, code, found.err)
        path.write_bytes(kept)


@counts("flips", small=[6], full=[200])
def test_a_flipped_bit_of_the_weights_or_the_store_reaches_no_run(flips: int, home: Home, capsys: Any) -> None:
    draw = random.Random(flips)
    assert run(COMMANDS["rerank"]) == 0
    usual = output(home)
    files = [*home.folder.glob("cache/docs-*.sqlite"), *home.folder.glob("run/best/ndcg_cut_10/*")]
    for n in range(flips):
        path = files[n % len(files)]
        kept = path.read_bytes()
        flip(path, 8 * (len(kept) - 1 - 4 * draw.randrange(len(kept) // 8)) + 6)  # the exponent of some weight
        code = run(COMMANDS["rerank"])
        assert code == 6 or (code == 0 and output(home) == usual), (path, code, capsys.readouterr().err)
        path.write_bytes(kept)


def test_a_resume_makes_again_what_is_gone_or_damaged(home: Home, capsys: Any) -> None:
    usual = {name: (home.folder / "run" / name).read_bytes() for name in ("dev.run", "test.run")}
    (home.folder / "run" / "result.json").write_text('{"schema_version": 1}')
    (home.folder / "run" / "dev.run").write_text("")
    shutil.rmtree(home.folder / "run" / "best")
    assert run(COMMANDS["finished"]) in (0, 6)  # 6: the best weights are of the untrained model, whose are not kept
    said = capsys.readouterr().err
    assert "the test is made again" in said
    if "not kept" not in said:
        assert usual == {name: (home.folder / "run" / name).read_bytes() for name in usual}


def test_a_finished_run_without_its_dev_run_is_tested_anew_to_the_same_bytes(home: Home, capsys: Any) -> None:
    usual = {name: (home.folder / "run" / name).read_bytes() for name in ("dev.run", "test.run")}
    (home.folder / "run" / "dev.run").write_text("")
    assert run(COMMANDS["finished"]) == 0
    said = capsys.readouterr().err  # the last iteration is validated again, and may be the best
    assert "dev is reranked again" in said or "iteration 2: dev" in said
    assert usual == {name: (home.folder / "run" / name).read_bytes() for name in usual}


@pytest.mark.parametrize("step", [-5, "x", None, 10**9])
def test_a_state_of_another_step_is_no_checkpoint(step: Any, home: Home, capsys: Any) -> None:
    from rankcli.training.checkpoint import _checksum

    newest = max(home.folder.glob("run/checkpoints/*/state.json"))

    def change(content: dict[str, Any]) -> None:
        del content["sha256"]
        content["step"] = step
        content["sha256"] = _checksum(content)

    forge(newest, change)
    (home.folder / "run" / "result.json").unlink()
    assert run(COMMANDS["finished"]) == 0
    assert "this checkpoint does not load (state.json has impossible values" in capsys.readouterr().err


def test_a_changed_history_is_told(home: Home, capsys: Any) -> None:
    path = home.folder / "run" / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[30:])
    (home.folder / "run" / "result.json").unlink()
    assert run(COMMANDS["finished"]) == 0
    assert "the curves of the report may lack iterations" in capsys.readouterr().err


class FailingCalls:
    """Counts the calls in a home that open, rename, link or sync; that with the number `at` fails with EIO."""

    def __init__(self) -> None:
        self.calls = self.at = 0

    def breaking(self, name: str, given: Any) -> Any:
        def call(path: Any, *args: Any, **options: Any) -> Any:
            ours = isinstance(path, (str, Path)) and not str(path).startswith(
                ("/usr", "/lib", "/work", "/proc", "/dev")
            )
            if ours or name == "fsync":
                self.calls += 1
                if self.calls == self.at:
                    raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
            return given(path, *args, **options)

        return call

    def run(self, command: list[str], at: int) -> int:
        self.calls, self.at = 0, at
        try:
            return run(command)
        finally:
            self.at = 0


def failing_calls(monkeypatch: pytest.MonkeyPatch) -> FailingCalls:
    counter = FailingCalls()
    calls_of_os = ("open", "replace", "link", "rename", "fsync")
    for module, name in ((io, "open"), *((os, name) for name in calls_of_os)):
        monkeypatch.setattr(module, name, counter.breaking(name, getattr(module, name)))
    return counter


@pytest.mark.parametrize("command", ["evaluate", "convert", "verify", "repair", "finished", "search", "rerank"])
@counts("every", small=[7], full=[1])
def test_an_error_at_any_opening_or_renaming_is_told_and_replaces_nothing(
    command: str, every: int, home: Home, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Each of the calls in the home fails once with EIO; healthy files keep their bytes."""
    kept = {path: path.read_bytes() for path in home.files()}
    counter = failing_calls(monkeypatch)
    assert run(COMMANDS[command]) == 0
    usual, total = output(home), counter.calls
    assert total > 3
    step = every * 3 if command == "rerank" and every > 1 else every  # it is slow
    for n in range(1, total + 1, step):
        code, said = counter.run(COMMANDS[command], n), capsys.readouterr().err
        assert code in (0, 2, 3, 4, 6), (n, code, said)
        assert code or output(home) == usual, (n, said)
        for path, content in kept.items():
            if "/runs/" not in str(path) and path.name not in ("input-hashes",):
                assert path.read_bytes() == content, (n, path, said)


@counts("tries", small=[2], full=[60])
def test_an_error_at_any_call_of_a_training_is_told_and_the_next_one_ends_alike(
    tries: int, home: Home, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The second of two iterations and the test are made again, with one failing call, and then without."""
    products = ("dev.run", "test.run", "best/ndcg_cut_10/model.safetensors")
    usual = [(home.folder / "run" / name).read_bytes() for name in products]
    (home.folder / "run" / "result.json").unlink()
    shutil.rmtree(home.folder / "run" / "checkpoints" / "iter-00002")
    shutil.copytree(home.folder / "run", home.folder / "begun")

    def begin() -> None:
        shutil.rmtree(home.folder / "run")
        shutil.copytree(home.folder / "begun", home.folder / "run")

    counter = failing_calls(monkeypatch)
    assert run(COMMANDS["finished"]) == 0
    for n in random.Random(1).sample(range(1, counter.calls + 1), tries):
        begin()
        code, said = counter.run(COMMANDS["finished"], n), capsys.readouterr().err
        assert code in (0, 4, 6), (n, code, said)
        assert code == 0 or "error: " in said
        assert run(COMMANDS["finished"]) == 0, n
        assert [(home.folder / "run" / name).read_bytes() for name in products] == usual, (n, said)


READER = """
import sys
from rankcli.cli import run
for command in sys.argv[1:]:
    code = run(command.split())
    print(command.split()[0], code, flush=True)
"""


MOUNT = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd "$0" && ! touch x 2>/dev/null && exec "$@"'


def read_only(home: Home, how: str) -> list[str]:
    """Make a home that a process may only read, and return the command that starts such a process."""
    if how == "mount":
        prefix = ["unshare", "--mount", "sh", "-c", MOUNT, str(home.folder)]
        if subprocess.run([*prefix, "true"], capture_output=True).returncode:
            pytest.skip("only root may mount")
        return prefix
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root without setpriv may write everywhere")
    for path in (home.folder, *home.folder.rglob("*")):
        os.chmod(path, 0o555 if path.is_dir() else 0o444)
        if os.geteuid() == 0:
            os.chown(path, 12345, 12345)
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []


@pytest.mark.parametrize("how", ["another user's", "mount"])
def test_readers_need_no_write_access(how: str, home: Home, tmp_path: Path) -> None:
    """The collection, the cache and the run are of somebody else; only the output folder is the reader's."""
    mine = tmp_path / "mine"
    mine.mkdir()
    prefix = read_only(home, how)
    commands = [
        f"evaluate --model run --per-query {mine}/values",
        f"rerank --model run --output {mine}/own.run",
        f"rerank --model run --docs docs.jsonl --queries queries.jsonl --run run/test.run --output {mine}/given.run",
        f"search --docs docs.jsonl --queries queries.jsonl --output {mine}/bm25.run",
        f"train --config config.yaml --out {mine}/run",
        "cache ls",
        "cache verify",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RANKCLI_CACHE": "cache", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [*prefix, sys.executable, "-c", READER, *commands],
            cwd=home.folder, env=environment, capture_output=True, text=True,
        )  # fmt: skip
    finally:
        for path in (home.folder, *home.folder.rglob("*")):
            os.chmod(path, 0o755)
    codes = [line for line in done.stdout.splitlines() if line.split()[-1:] == ["0"]]
    assert {line.split()[0] for line in codes} == {"evaluate", "rerank", "search", "train", "cache"}, done.stderr
    assert {"values", "own.run", "given.run", "bm25.run", "run"} <= {path.name for path in mine.iterdir()}
    assert (mine / "own.run").read_bytes() == (home.folder / "run" / "test.run").read_bytes()


def test_an_output_never_replaces_an_input(home: Home, trained: Home, capsys: Any) -> None:
    """`theirs.jsonl` is another name of the documents in the config of the run."""
    os.link(trained.folder / "docs.jsonl", home.folder / "theirs.jsonl")
    os.link(home.folder / "docs.jsonl", home.folder / "same.jsonl")
    search = ["search", "--force", "--docs", "docs.jsonl", "--queries", "queries.jsonl", "--output"]
    kept = {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()}
    for target in ("docs.jsonl", "./same.jsonl", "queries.jsonl"):
        assert run([*search, target]) == 2
    for target in ("run/test.run", "theirs.jsonl"):
        assert run(["rerank", "--force", "--model", "run", "--output", target]) == 2
    assert (
        run(["evaluate", "--force", "--qrels", "qrels.txt", "--run", "run/test.run", "--per-query", "qrels.txt"]) == 2
    )
    assert capsys.readouterr().err.count("it is an input, which is not replaced") == 6
    assert all(path.read_bytes() == content for path, content in kept.items())


def test_a_pipe_in_place_of_a_kept_file_is_not_waited_for(home: Home, capsys: Any) -> None:
    (store,) = home.folder.glob("cache/docs-*.sqlite")
    store.unlink()
    os.mkfifo(store)
    assert run(["search", "--docs", "docs.jsonl", "--queries", "queries.jsonl", "--output", "out"]) == 6
    assert f"{store.relative_to(home.folder)}: not a regular file" in capsys.readouterr().err


def test_what_a_killed_command_has_left_is_removed_by_the_next_but_not_what_lives(home: Home) -> None:
    from rankcli.storage.atomic import replacing_file

    dead = home.folder / f"out.tmp.123.{'a' * 32}"
    dead.write_text("half a run")
    foreign = home.folder / "out.tmp.notes"
    foreign.write_text("mine")
    with replacing_file(home.folder / "out") as living:
        assert run(["search", "--docs", "docs.jsonl", "--queries", "queries.jsonl", "--output", "out"]) == 0
        assert living.exists() and foreign.exists() and not dead.exists()
