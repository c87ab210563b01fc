"""`rankcli cache`: its subcommands explain themselves and answer without what is slow to import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rankcli.cli import run
from rankcli.cli.cache import command

SLOW = ("tensorflow", "tf_keras", "transformers", "tokenizers", "bm25s", "scipy", "pytrec_eval", "google.cloud.storage")
WATCHED = f"""
import sys
from rankcli.cli import run
code = run(["cache", *sys.argv[1:]])
assert not [name for name in {SLOW} if name in sys.modules]
sys.exit(code)
"""


@pytest.mark.parametrize("name", ["ls", "verify", "prune"])
def test_every_subcommand_is_documented_with_examples_that_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", name, "--help"]) == 0
    text = capsys.readouterr().out
    example = text.partition("Example:")[2].partition("Options:")[0]
    params = command.commands[name].params
    known = {option for param in params for option in param.opts}
    used = {word for word in example.split() if word.startswith("--")}
    assert used and used <= known and {"--storage", "--json", "--debug"} <= known
    assert all(line.startswith(f"rankcli cache {name}") for line in map(str.strip, example.splitlines()) if line)
    assert all(getattr(param, "help", None) for param in params)


@pytest.mark.parametrize("args", [["ls"], ["verify", "--repair"], ["prune", "--unused"], ["ls", "--json"]])
def test_they_import_nothing_slow(args: list[str], tmp_path: Path) -> None:
    env = {**os.environ, "RANKCLI_CACHE": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", WATCHED, *args], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "")
