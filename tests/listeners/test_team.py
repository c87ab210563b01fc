"""The listeners of a run, and those refused before it begins."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rankcli.cli import run
from rankcli.config.identity import component_identity
from rankcli.config.registry import TRAINERS
from rankcli.errors import ConfigError
from rankcli.listeners.base import Measured, Moment
from rankcli.listeners.team import chosen, entry_of
from rankcli.listeners.tensorboard import TensorBoard
from rankcli.listeners.validation import Validating
from rankcli.listeners.watch import Watching
from tests.listeners.fakes import METRICS


def trainer(*listeners: Any, **options: Any) -> Any:
    return SimpleNamespace(**{"listeners": listeners, "validatefreq": 2, "niters": 4, "boardname": None, **options})


def test_without_any_there_is_a_validation_of_every_dev_set_and_the_watch() -> None:
    dev, news, watch = chosen(trainer(), ["dev", "news"], METRICS)
    assert dev.options == Validating(set="dev", metrics=("RR@10", "map"), keep=("RR@10", "map"), interval=2)
    assert news.options == Validating(set="news", metrics=("RR@10", "map"), keep=(), interval=2)
    assert [each.name for each in (dev, news, watch)] == ["validation", "validation-2", "watch"]


def test_those_named_come_in_their_order_behind_the_validations_that_are_missing() -> None:
    asked = [Watching(validations=5), Validating(interval=1, metrics=("RR@10",), patience=3)]
    found = chosen(trainer(*asked, boardname="mine"), ["dev", "news"], METRICS)
    assert [each.name for each in found] == ["validation", "watch", "validation-2", "tensorboard"]
    assert [getattr(each.options, "set", None) for each in found] == ["news", None, "dev", None]
    assert found[1].options == asked[0] and found[3].options == TensorBoard(boardname="mine")
    assert found[2].options.keep == ("RR@10",) and found[2].where == "trainer.listeners.1"


@pytest.mark.parametrize(
    ("listeners", "where", "said"),
    [
        ([Validating(set="nws")], "trainer.listeners.0.set", r"no dev set 'nws' \(there are: dev, news\)"),
        ([Validating(keep=("P_5",))], "trainer.listeners.0.keep", r"P_5 is not measured \(only RR@10, map\)"),
        ([Validating(keep=("map",))], "trainer.listeners", "no validation keeps the weights .* RR@10"),
        ([Validating(), Validating(warmup=2)], "trainer.listeners.1.keep", "RR@10 of dev are kept by trainer.listen"),
        ([Validating(warmup=5)], "trainer.listeners.0.warmup", "5 is above niters = 4"),
    ],
)
def test_what_cannot_be_done_is_refused(listeners: Any, where: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        chosen(trainer(*listeners), ["dev", "news"], METRICS)
    assert refused.value.where == where and refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainer.listeners=[{name: validation, patience: 0}]", "expected a whole number above 0"),
        ("trainer.listeners=[{name: validation, set: news}]", "there is no dev set 'news' (there are: dev)"),
        ("trainer.listeners=[{name: validation, metrics: [ndgc@10]}]", "unknown metric 'ndgc@10'"),
        ("trainer.listeners=[{name: validatoin}]", "did you mean 'validation'?"),
        ("trainer.listeners=validation", "expected a list of listeners"),
        ("trainer.boardname=../up", "is no name of a folder"),
    ],
)
def test_a_command_with_it_is_one_line_and_exit_2(tiny, tmp_path: Path, capsys, override: str, said: str) -> None:
    tiny("TFKNRM")
    out = tmp_path / "run"
    assert run(["train", "--config", str(tmp_path / "TFKNRM.yaml"), "--out", str(out), override]) == 2
    errors = capsys.readouterr().err.strip()
    assert said in errors and "Traceback" not in errors and not out.exists()


def test_listeners_that_change_no_result_are_in_no_id() -> None:
    kind = TRAINERS.get("tensorflow")
    same = kind(batch=2, niters=5, itersize=14)
    assert (same.niters, same.steps_per_iter, same.steps) == (5, 7, 35)
    drawn = kind(batch=2, niters=5, itersize=14, listeners=(TensorBoard(), Watching(validations=7)), boardname=None)
    assert component_identity(TRAINERS, drawn) == component_identity(TRAINERS, same)
    stopping = kind(batch=2, niters=5, itersize=14, listeners=(TensorBoard(), Validating(patience=2)))
    assert component_identity(TRAINERS, stopping)["listeners"] == [{"name": "validation", "version": 1, "patience": 2}]
    with pytest.raises(ValueError, match="say the same thing twice"):
        kind(listeners=(TensorBoard(),), boardname="mine")


def test_one_line_of_metrics_tells_of_all_that_was_measured() -> None:
    found = [
        Measured("dev", "dev", {"map": 0.5}),
        Measured("dev", "news", {"map": 0.4}),
        Measured("dev", "dev", {"P_5": 1}),
    ]
    assert entry_of(Moment(2, 8), found) == {
        "iter": 2,
        "step": 8,
        "dev": {"map": 0.5, "P_5": 1},
        "dev/news": {"map": 0.4},
    }
