"""The order in which listeners hear of everything, which is a contract, and the vote."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rankcli.config.schema import RunConfig
from rankcli.errors import Interrupted
from rankcli.runs import single
from rankcli.training import learner, strategy
from rankcli.training.checkpoint import Checkpoints
from rankcli.training.history import History
from rankcli.verbs.train import train
from tests.checked import plain
from tests.listeners.recording import HEARD, Recording, registered

SMALL = ("trainer.itersize=4", "trainer.lr=1e-2", "trainer.bertlr=1e-3")  # two steps an iteration
MODEL = ["seed", "strategy", "model", "groups", "optimizer", "optimizer"]
START = ["seed", "strategy", "before_initialisation", *MODEL, "after_initialisation", "resume"]


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch, on_step: Any) -> list[str]:
    """Everything a recording listener hears, between what the loop does."""
    registered(monkeypatch)

    def note(owner: Any, name: str, said: str) -> None:
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args, **named: (HEARD.append(said), real(*args, **named))[1])

    note(strategy, "make_runtime_deterministic", "seed")
    note(strategy, "make_strategy", "strategy")
    note(learner, "groups_for", "groups")
    note(Checkpoints, "restore", "resume")
    note(Checkpoints, "save", "checkpoint")
    note(History, "append", "metrics")
    on_step(lambda now, done: HEARD.append("step"))
    return HEARD


def config(tiny: Callable[..., RunConfig], monkeypatch: Any, *overrides: str, **options: Any) -> RunConfig:
    """A run with the recording listener alone beside the usual validation."""
    found = tiny("TFKNRM", *SMALL, *overrides)
    for owner, said in ((type(found.reranker), "model"), (type(found.trainer.optimizer), "optimizer")):
        if not hasattr(owner, "noted"):
            real = owner.build
            monkeypatch.setattr(owner, "noted", True, raising=False)
            monkeypatch.setattr(
                owner, "build", lambda *args, real=real, said=said: (args[1] and HEARD.append(said), real(*args))[1]
            )
    trainer = dataclasses.replace(found.trainer, listeners=(Recording(**options),))
    return dataclasses.replace(found, trainer=trainer)


def steps(iteration: int) -> list[str]:
    return [f"start_iteration {iteration}", "step", "step", "metrics", f"end_iteration {iteration + 1}", "checkpoint"]


def validation(iteration: int) -> list[str]:
    return [f"before_validation {iteration}", "metrics", f"after_validation {iteration}"]


def test_a_fresh_run_and_an_iteration_without_validation(tiny, tmp_path: Path, monkeypatch, heard) -> None:
    train(config(tiny, monkeypatch, "trainer.niters=3", "trainer.validatefreq=2"), out=tmp_path / "run")
    expected = [*START, "start_training 0", *validation(0), "vote"]
    expected += [*steps(0), "vote", *steps(1), *validation(2), "vote", *steps(2), *validation(3), "vote"]
    assert heard[: len(expected) + 1] == [*expected, "end_training 3"]
    assert set(heard[len(expected) + 1 :]) <= {"model"}  # the best weights are opened to be tested


@pytest.mark.parametrize("step", [1, 2], ids=["within an iteration", "after one"])
def test_a_resumed_run(tiny, tmp_path: Path, monkeypatch, heard, on_step, stop_after, step: int) -> None:
    asked = config(tiny, monkeypatch, "trainer.niters=2")
    stop_after(step)
    with pytest.raises(Interrupted):
        train(asked, out=tmp_path / "run")
    heard.clear()
    on_step(lambda now, done: HEARD.append("step"))
    train(asked, out=tmp_path / "run")
    begin = [*START, "restore", f"start_training {step // 2}"]
    # The signal of step 2 ends the validation behind it, which is made again.
    first = ["step", "metrics", "end_iteration 1", "checkpoint"] if step == 1 else []
    expected = [*begin, *first, *validation(1), "vote", *steps(1), *validation(2), "vote", "end_training 2"]
    assert heard[: len(expected)] == expected


def test_a_vote_to_stop_ends_training_and_a_resumed_run_does_not_train_on(
    tiny, tmp_path: Path, monkeypatch, heard
) -> None:
    asked = config(tiny, monkeypatch, "trainer.niters=4", stop=(2,))
    with monkeypatch.context() as patch:
        patch.setattr(single, "measure", lambda *_: pytest.fail("killed before the test"))
        with pytest.raises(pytest.fail.Exception):
            train(asked, out=tmp_path / "run")
    assert heard[-4:] == ["metrics", "after_validation 2", "vote", "end_training 2"]
    heard.clear()
    result = train(asked, out=tmp_path / "run")["result"]
    expected = [*START, "restore", "start_training 2", *validation(2), "vote", "end_training 2"]
    assert heard[: len(expected)] == expected and "step" not in heard
    assert result["stopped"] == {"iter": 2, "step": 4, "why": "recording was told to"}
    assert result["listeners"]["recording"] == {"iteration": 2}
    assert {best["iter"] for best in result["best"].values()} <= {0, 1, 2}
    heard.clear()
    assert train(asked, out=tmp_path / "run")["result"] == result == plain((tmp_path / "run/result.json").read_text())
    assert heard == []


def test_training_goes_on_while_anybody_says_so(tiny, tmp_path: Path, monkeypatch, heard) -> None:
    asked = config(tiny, monkeypatch, "trainer.niters=3", stop=(1, 2))
    both = (*asked.trainer.listeners, Recording(dont=(1,)))
    asked = dataclasses.replace(asked, trainer=dataclasses.replace(asked.trainer, listeners=both))
    result = train(asked, out=tmp_path / "run")["result"]
    assert result["stopped"] == {"iter": 2, "step": 4, "why": "recording was told to"}
    assert set(result["listeners"]) == {"validation", "recording", "recording-2", "watch"}


def test_a_vote_at_the_last_iteration_stops_nothing(tiny, tmp_path: Path, monkeypatch) -> None:
    asked = config(tiny, monkeypatch, "trainer.niters=1", stop=(1,))
    assert train(asked, out=tmp_path / "run")["result"]["stopped"] is None
