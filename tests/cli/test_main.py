"""The boundary: exit codes, what is said, and that nothing heavy is imported for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from rankcli import __version__, errors
from rankcli.cli import COMMANDS, cli, run

HEAVY = ("tensorflow", "tf_keras", "transformers", "tokenizers", "bm25s", "scipy", "pytrec_eval")


def command_named(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make `rankcli schema` raise an error."""

    def fail_with(error: BaseException) -> None:
        def fail() -> None:
            raise error

        monkeypatch.setattr(command_named("schema"), "callback", fail)

    return fail_with


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"rankcli, version {__version__}\n"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.RankcliError, 1),
        (errors.ConfigError, 2),
        (errors.DataError, 3),
        (errors.MissingError, 4),
        (errors.TrainingError, 5),
        (errors.StorageError, 6),
    ],
)
def test_an_error_is_told_on_stderr_and_has_its_exit_code(
    kind: type[errors.RankcliError], code: int, failing: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(kind("it broke", where="f:3", fix="mend it"))
    assert run(["schema"]) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: f:3: it broke\n  -> mend it\n")


@pytest.mark.parametrize("signum", [2, 15])
def test_an_interruption_exits_with_128_and_the_signal(signum: int, failing: Any) -> None:
    failing(errors.Interrupted("interrupted", signum=signum))
    assert run(["schema"]) == 128 + signum


def test_control_c_exits_130_without_a_traceback(failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    failing(KeyboardInterrupt())
    assert run(["schema"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


EARLY = """
import sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "rankcli.errors":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from rankcli.__main__ import main
main()
"""


def test_control_c_while_the_commands_are_still_imported_shows_no_traceback(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = python("-c", EARLY, cwd=tmp_path, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_anything_else_is_a_bug_of_ours_in_one_line(failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    failing(ZeroDivisionError("by zero"))
    assert run(["schema"]) == 1
    err = capsys.readouterr().err
    assert (
        err.startswith("error: a bug of ours, ZeroDivisionError: by zero") and err.count("\n") == 1 and "--debug" in err
    )


@pytest.mark.parametrize("args", [["schema", "--debug"], ["--debug", "schema"]])
def test_debug_shows_the_traceback(args: list[str], failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for error, code in ((ZeroDivisionError("by zero"), 1), (errors.DataError("bad"), 3)):
        failing(error)
        assert run(args) == code
        assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "said", "fix"),
    [
        (
            28,
            "No space left on device",
            "free some space (or raise the limit: `ulimit -f`), or use another place, and run again",
        ),
        (30, "Read-only file system", "use another place"),
        (24, "Too many open files", "raise the limit of open files (`ulimit -n`) and run again"),
        (13, "Permission denied", "check the path and its permissions"),
    ],
)
def test_a_failing_disk_that_nothing_caught_is_a_storage_failure(
    number: int, said: str, fix: str, failing: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(OSError(number, said, "out/x"))
    assert run(["schema"]) == 6
    assert capsys.readouterr().err == f"error: out/x: {said}\n  -> {fix}\n"


def test_an_output_that_may_not_be_written_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may do anything
    assert run(["rerank", "--model", "x", "--output", str(tmp_path / "out.run")]) == 6
    assert f"{tmp_path}/out.run: cannot be written: Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args",
    [["train"], ["rerank", "--model", "x"], ["evaluate", "--nonsense"], ["modules", "rerankrs"]],
)
def test_usage_errors_exit_2_and_name_the_help(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(args) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: ") and lines[1:] == [f"  -> see: rankcli {args[0]} --help"]


def test_the_summaries_of_commands_are_whole_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    for args in ([], ["cache"]):
        run([*args, "--help"])
        text = " ".join(capsys.readouterr().out.partition("Commands:")[2].split())
        assert "..." not in text
    assert "Compare every shard with its checksum; exit 6 if something is damaged and was not repaired." in text


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Usage: rankcli" in capsys.readouterr().err


def test_a_configuration_may_be_an_argument(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "a.yaml"
    config.write_text("data: {docs: none}\nreranker: TFKNRM\n")
    assert run(["train", str(config), "trainer.niters=2", "--dry-run"]) == 2
    assert "data.docs: no such file" in capsys.readouterr().err
    assert run(["train", str(config), "--config", str(config)]) == 2
    assert "error: the configuration is given twice, as an argument and with --config" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["help", "trian", "task"])
def test_defect_19b_an_unknown_command_gives_usage_not_a_traceback(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([word]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: no command {word!r}") and err.endswith("  -> see: rankcli --help\n")
    assert "evaluate" in err and "Traceback" not in err
    assert ("did you mean 'train'" in err) == (word == "trian")


def test_a_config_error_exits_2_before_tensorflow_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text("data: {builtin: stdlib-docs}\nreranker: TFKNMR\n")
    assert run(["train", "--config", str(tmp_path / "a.yaml"), "trainer.nitres=3"]) == 2
    err = capsys.readouterr().err
    assert f"{tmp_path / 'a.yaml'}:2: reranker: unknown reranker 'TFKNMR'; did you mean 'TFKNRM'?" in err
    assert "command line: trainer.nitres: unknown key; did you mean 'niters'?" in err


def python(*args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, **kwargs)


WATCHED = f"""
import sys
from rankcli.cli import run
code = run(sys.argv[1:])
heavy = [name for name in {HEAVY} if name in sys.modules]
assert not heavy, heavy
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--help"], 0),
        (["train", "--help"], 0),
        (["help"], 2),
        (["evaluate", "--run", "none"], 2),
        (["modules"], 0),
        (["modules", "rerankers", "crossencoder", "--json"], 0),
        (["schema"], 0),
        (["doctor"], 0),
        (["train", "--config", "bad.yaml"], 2),
        (["train", "--config", "bad.yaml", "trainer.tpuname=x", "trainer.strategy=tpu"], 2),
    ],
)
def test_defect_17_asking_and_validating_import_no_tensorflow_and_open_no_device(
    args: list[str], code: int, tmp_path: Path
) -> None:
    (tmp_path / "bad.yaml").write_text("data: {builtin: stdlib-docs}\nreranker: crossencoder\ntrainer: {niters: -1}\n")
    env = {**os.environ, "RANKCLI_CACHE": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = python("-c", WATCHED, *args, cwd=tmp_path, env=env)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_stops_early_is_no_failure() -> None:
    script = f'{sys.executable} -m rankcli schema | head -c 10; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stderr == "" and done.stdout.endswith("0\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Example:" in text and f"rankcli {name}" in text.partition("Example:")[2]
    for param in command_named(name).params:
        known = ("kind", "name", "place", "arguments", "shell")
        assert param.name in known or getattr(param, "help", None), param.name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_use_options_that_exist(name: str) -> None:
    command = command_named(name)
    commands = [command, *getattr(command, "commands", {}).values()]
    known = {option for each in commands for param in each.params for option in param.opts}
    example = (command.help or "").partition("Example:")[2]
    used = {word for word in example.split() if word.startswith("--")}
    assert used <= known


def test_the_golden_list_of_names_and_the_page_of_losses_are_up_to_date() -> None:
    root = Path(__file__).parents[2]
    done = python(str(root / "scripts" / "update-golden"), "--check", cwd=root)
    assert (done.returncode, done.stdout) == (0, ""), "run scripts/update-golden and look at the difference"


def test_modules_understands_what_has_one_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    def page(*args: str) -> str:
        assert run(["modules", *args]) == 0
        return capsys.readouterr().out

    assert page("reranker") == page("rerankers") and page("loss") == page("losses")
    assert page("biencoder") == page("rerankers", "biencoder")
    assert "batch: whole number from 1, default" in page("tensorflow") and "PositiveInt" not in page(
        "trainers", "tensorflow"
    )
    assert "decaytype: constant, linear, cosine, exponential, inverse_time, default linear" in page("tensorflow")
    assert "relevance_level: whole number from 1, default 1" in page("data")
    assert "optimize: text, default ndcg_cut_10" in page("metrics")
    assert page("encoder", "xlm-roberta") == "encoders xlm-roberta\n\nRoBERTa over a vocabulary of many languages.\n"
    assert "\n  roberta      BERT's layers; positions are" in page("encoders")
    assert run(["modules", "constant", "linear"]) == 2
