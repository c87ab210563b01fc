"""Bad options of a training: one message, exit 2, and neither a conversion nor a run directory before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rankcli.cli import run
from rankcli.runs import records
from tests.conftest import EXTRACTORS, RERANKERS, write_collection

TASK = "{sampler: {name: LCE, nneg: 3}}"
BAD = {
    "a group that claims nothing": (["trainer.groups=[{pattern: decoder, lr: 1}, {pattern: '', lr: 1}]"], "'decoder'"),
    "a variable that no group claims": (["trainer.groups=[{pattern: '^encoder/', lr: 1}]"], "classifier/"),
    "groups and shorthand": (["trainer.groups=[{pattern: '', lr: 1}]", "trainer.lr=1"], "twice"),
    "all frozen": (["trainer.groups=[{pattern: '', freeze: true}]"], "every variable is frozen"),
    "a pattern that is none": (["trainer.groups=[{pattern: '(', lr: 1}]"], "not a regular expression"),
    "unfrozen too late": (["trainer.groups=[{pattern: '', lr: 1, unfreeze_at: 2}]"], "not below niters"),
    "layers of a model without": (["trainer.layerdecay=0.5", "knrm"], "no encoder of layers"),
    "parts": (["trainer.accumulate=3"], "accumulate = 3"),
    "an unknown optimizer": (["trainer.optimizer=adagrad"], "unknown optimizer 'adagrad'"),
    "a schedule without steps": (["trainer.schedule={name: step, step_size: 0}"], "step_size"),
    "a schedule that rises": (["trainer.schedule={name: step, step_size: 2, gamma: 2}"], "gamma"),
    "an unknown hook": (["trainer.hooks=[clip]"], "unknown hook 'clip'; did you mean 'clipnorm'?"),
    "a hook that is no list": (["trainer.hooks=clipnorm"], "expected a list of hooks"),
    "a norm of 0": (["trainer.hooks=[{name: clipnorm, norm: 0}]"], "above 0"),
    "a penalty without weight": (["trainer.hooks=[l2]"], "trainer.hooks.0.weight: is needed"),
    "a part that is not there": (["trainer.hooks=[{name: l2, weight: 1, part: decoder}]"], "'decoder' is found in no"),
    "a hook without its loss": (["trainer.hooks=[loss]"], "loss is needed"),
    "a hook's loss on single documents": (
        ["trainer.hooks=[{name: loss, loss: lce}]", "trainer.loss=bce", "sampler=pair"],
        "trainer.hooks.0.loss: needs at least 2",
    ),
    "a ramp that never gets there": (
        ["trainer.hooks=[{name: l2, weight: {start: 0, end: 1, iterations: 3}}]"],
        "error: trainer.hooks.0.weight: changes for 3 iterations, but there are 2: it would never be 1",
    ),
    "another program's name of iterations": (["trainer.max_epochs=3"], "unknown key; did you mean 'niters'?"),
    "another program's name of their size": (["trainer.steps_per_epoch=3"], "unknown key; did you mean 'itersize'?"),
    "another program's name of a rate": (["trainer.learning_rate=3"], "unknown key; did you mean 'lr'?"),
    "lists to a pointwise trainer": (["trainer.name=pointwise"], "groups of 8 documents"),
    "a pairwise loss to a pointwise trainer": (
        ["trainer={name: pointwise, loss: pairwise_hinge}", "sampler=pair"],
        "a loss of single documents (`bce`, `mse`)",
    ),
    "no tasks": (["trainer.name=multiple"], "trainer.tasks: is needed"),
    "empty tasks": (["trainer={name: multiple, tasks: {}}"], "tasks is empty"),
    "a task without a sampler": (["trainer={name: multiple, tasks: {a: {loss: lce}}}"], "sampler is needed"),
    "a name that is none": ([f"trainer={{name: multiple, tasks: {{1a: {TASK}}}}}"], "letters"),
    "the name of the only task": ([f"trainer={{name: multiple, tasks: {{train: {TASK}}}}}"], "'train'"),
    "a loss beside those of the tasks": (
        [f"trainer={{name: multiple, loss: lce, tasks: {{a: {TASK}}}}}"],
        "leave `loss`",
    ),
    "a sampler beside those of the tasks": (
        [f"trainer={{name: multiple, tasks: {{a: {TASK}}}}}", "sampler=pair"],
        "sampler of its own",
    ),
    "another batch": ([f"trainer={{name: multiple, batch: 5, tasks: {{a: {TASK}}}}}"], "leave `batch` out"),
    "parts of a task": (
        [f"trainer={{name: multiple, accumulate: 4, tasks: {{a: {TASK}, b: {{sampler: pair, loss: bce, batch: 2}}}}}}"],
        "task 'b'",
    ),
    "a task's loss on single documents": (
        ["trainer={name: multiple, tasks: {a: {sampler: pair}}}"],
        "trainer.tasks.a.loss: needs at least 2",
    ),
    "a task's extractor for another model": (
        ["trainer={name: multiple, tasks: {a: {sampler: LCE, extractor: apart}}}"],
        "trainer.tasks.a.extractor.name: 'apart' makes query, doc",
    ),
    "a task's longer texts": (
        ["trainer={name: multiple, tasks: {a: {sampler: LCE, extractor: {name: passage, vocab_size: 60}}}}"],
        "sequences of 256 tokens, but 24",
    ),
    "a weight that never gets there": (
        ["trainer={name: multiple, tasks: {a: {sampler: LCE, weight: {start: 0, end: 1, iterations: 3}}}}"],
        "it would never be 1",
    ),
    "a weight of 0": (["trainer={name: multiple, tasks: {a: {sampler: LCE, weight: 0}}}"], "above 0 or a mapping"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny collection with a configuration of a cross-encoder and one of KNRM; a conversion is a failure."""

    def convert(*args: Any, **options: Any) -> Any:
        raise AssertionError("converted before the options were checked")

    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(records, "convert", convert)
    write_collection(tmp_path)
    for name, reranker in (("config", "crossencoder"), ("knrm", "TFKNRM")):
        (tmp_path / f"{name}.yaml").write_text(
            "data: {docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 3, fold: 0}}\n"
            f"reranker: {RERANKERS[reranker]}\nextractor: {EXTRACTORS[reranker]}\n"
        )
    return tmp_path


PROGRESS = ("reading ", "loading ", "training a WordPiece")


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_option_is_one_message_and_exit_2_before_any_conversion(folder: Path, capsys, bad: str) -> None:
    options, words = BAD[bad]
    config = folder / ("knrm.yaml" if "knrm" in options else "config.yaml")
    overrides = [option for option in options if "=" in option]
    code = run(["train", "--config", str(config), "--out", str(folder / "run"), *overrides])
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(PROGRESS)]
    assert code == 2 and words in said[0] and said[0].startswith("error: ")
    assert said[1:] == [] or (len(said) == 2 and said[1].startswith("  -> "))
    assert not (folder / "run").exists()


def test_good_options_reach_the_conversion(folder: Path, capsys) -> None:
    """So that the test above cannot pass for another reason."""
    options = ["trainer.groups=[{pattern: '', lr: 1}]", "trainer.hooks=[{name: l2, weight: 1, part: classifier}]"]
    assert run(["train", "--config", str(folder / "config.yaml"), "--out", str(folder / "run"), *options]) == 1
    assert "converted before the options were checked" in capsys.readouterr().err
