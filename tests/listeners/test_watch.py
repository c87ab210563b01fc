"""Silent failures are warned of, once each; a training that learns is not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from rankcli.listeners.base import Measured, Moment
from rankcli.listeners.watch import Watch, Watching, flat
from tests.listeners.fakes import Faked, context

LN4 = math.log(4)


def watch(tmp_path: Path, **options: Any) -> Watch:
    made = Watching(**options).build(context(tmp_path))
    assert isinstance(made, Watch)
    made.after_initialisation(Faked({"bertlr": 4, "lr": 0}, {"lce": LN4}))  # type: ignore[arg-type]
    return made


def iteration(listener: Watch, number: int, **changed: Any) -> None:
    entry = {"loss": 1.0, "lr": {"bertlr": 1e-5, "lr": 1e-3}, "grad_norm": {"bertlr": 0.1, "lr": 0.2}, **changed}
    listener.end_iteration(Moment(number, 2 * number), entry)


def validation(listener: Watch, number: int, value: float = 0.6, scores: Any = None, first: float = 0.5) -> None:
    given = {"q": {"a": 1.0, "b": 2.0}} if scores is None else scores
    measured = [Measured("dev", "dev", {"map": value, "P_5": 0.0}, {"map": first, "P_5": 1.0}, given)]
    listener.after_validation(Moment(number, 2 * number), measured, {})


def test_a_training_that_learns_is_not_warned_of(tmp_path: Path, capsys) -> None:
    listener = watch(tmp_path)
    validation(listener, 0, value=0.1, scores={"q": {"a": 1.0, "b": 1.0}})  # untrained
    for number in range(1, 6):
        # the loss is near ln 4 once, and bertlr starts to train after step 4
        iteration(listener, number, loss=LN4 if number == 1 else 1.2, **(WAITING if number < 3 else {}))
        validation(listener, number, value=0.4 if number % 2 else 0.6)
    assert capsys.readouterr().err == "" and listener.result() == {"warnings": []}


WAITING = {"lr": {"bertlr": 0.0, "lr": 1e-3}, "grad_norm": {"bertlr": 0.0, "lr": 0.2}}


@pytest.mark.parametrize(
    ("changed", "warned"),
    [
        ({"loss": LN4 * 1.009}, f"lce has stayed at {LN4:.4f}, what equal scores give, for 2 iterations"),
        ({"losses": {"lce": LN4, "l2": 3.0}}, f"lce has stayed at {LN4:.4f}"),
        ({"lr": {"bertlr": 0.0, "lr": 1e-3}}, "iteration 3: the learning rate of group 'bertlr' is 0"),
        ({"grad_norm": {"bertlr": 1.0, "lr": 0.0}}, "iteration 3: the gradient of group 'lr' was 0 in every step"),
    ],
)
def test_what_an_iteration_shows_is_warned_of_once(tmp_path: Path, capsys, changed: Any, warned: str) -> None:
    listener = watch(tmp_path)
    for number in range(3, 6):
        iteration(listener, number, **changed)
        listener.restore(json.loads(json.dumps(listener.state())))  # a resumed run does not repeat itself
    said = capsys.readouterr().err
    assert said.count("warning: ") == 1 and warned in said
    assert len(listener.result()["warnings"]) == 1 and warned in listener.result()["warnings"][0]


def test_a_loss_a_little_further_off_is_no_sign(tmp_path: Path, capsys) -> None:
    listener = watch(tmp_path)
    for number in range(3, 6):
        iteration(listener, number, loss=LN4 * 0.98)
    iteration(listener, 6, loss=None)  # every step was left out
    assert capsys.readouterr().err == ""


def test_scores_that_do_not_differ_within_queries_are_warned_of(tmp_path: Path, capsys) -> None:
    listener = watch(tmp_path)
    validation(listener, 1, scores={"q": {"a": 0.1, "b": 0.1}, "r": {"a": 5.0, "b": 5.0}})
    assert "documents of a query of dev all get about the same score" in capsys.readouterr().err


def test_when_scores_are_flat() -> None:
    def spread(by: float, size: float = 0.0) -> dict[str, dict[str, float]]:
        return {"q": {"a": size, "b": size + by}, "r": {"c": 7.0}}  # a standard deviation of by / 2

    assert flat(spread(1.9e-4)) and not flat(spread(2.1e-4))
    assert flat(spread(1.9e-3, 10.0)) and not flat(spread(2.1e-3, 10.0))
    assert not flat({"r": {"c": 7.0}}) and not flat({})


def test_a_dev_set_that_stays_below_its_first_stage_is_warned_of(tmp_path: Path, capsys) -> None:
    listener = watch(tmp_path, validations=2)
    for number, value in enumerate([0.1, 0.4, 0.5, 0.45]):  # 0.5 is as good as the first stage
        validation(listener, number, value)
    assert capsys.readouterr().err == ""
    validation(listener, 4, 0.49)
    said = capsys.readouterr().err
    assert "dev is worse than its first stage after 2 validations: map 0.4900 against 0.5000" in said
