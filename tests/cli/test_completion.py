"""The script of `rankcli completion`, sourced in bash as a user does, and the words of other shells."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from rankcli.cli import cli, run
from rankcli.cli._complete import of_config, of_weights

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment in which `rankcli` is on the path."""
    command = tmp_path / "rankcli"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m rankcli "$@"\n')
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["tra"], ["train"]),
        (["train", "trainer.nit"], ["trainer.niters="]),
        (["train", "reranker", "=", "cross"], ["crossencoder"]),
        (["modules", "sam"], ["samplers"]),
        (["modules", "samplers", "trip"], ["triples", "triplet"]),
        (["modules", "encoders", "xlm"], ["xlm-roberta"]),
        (["evaluate", "--metric", "ndcg_cut"], ["ndcg_cut_10"]),
    ],
)
def test_bash_completes(words: list[str], wanted: list[str], shell: dict[str, str]) -> None:
    script = (
        'source <(rankcli completion bash) && COMP_WORDS=(rankcli "$@") && COMP_CWORD=$# && '
        '_rankcli_completion rankcli && printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script, "-", *words], env=shell, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, wanted), done.stderr


@pytest.mark.parametrize("name", ["zsh", "fish"])
def test_other_shells_have_a_script(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", name]) == 0
    assert f"_RANKCLI_COMPLETE={name}_complete" in capsys.readouterr().out


def test_weights_are_those_that_the_run_directory_keeps(tmp_path: Path) -> None:
    for place in ("best/map", "best/RR@10", "checkpoints/iter-00001", "checkpoints/iter-00012", "checkpoints/x"):
        (tmp_path / place).mkdir(parents=True)
    context = click.Context(cli)
    context.params["model"] = str(tmp_path)

    def completed(incomplete: str) -> list[str]:
        return [item.value for item in of_weights(context, click.Option(["--weights"]), incomplete)]

    assert completed("") == ["best", "last", "best:RR@10", "best:map", "iter:1", "iter:12"]
    assert completed("iter:1") == ["iter:1", "iter:12"]
    context.params.clear()
    assert completed("") == ["best", "last"]


def test_a_component_is_completed_within_a_word() -> None:
    context = click.Context(cli)
    found = [item.value for item in of_config(context, click.Argument(["arguments"]), "sampler=trip")]
    assert found == ["sampler=triples", "sampler=triplet"]
    assert [item.type for item in of_config(context, click.Argument(["arguments"]), "my.yaml")] == ["file"]
