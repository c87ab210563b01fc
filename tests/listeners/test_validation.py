"""Validation without a training: when it is due, what it keeps, when it wants to stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rankcli.data.trec import read_run
from rankcli.listeners.base import Moment, Vote
from rankcli.listeners.validation import Validating, Validator
from tests.listeners.fakes import BAD, FIRST, GOOD, MIDDLE, Faked, context


def validator(out: Path, training: Faked, **options: Any) -> Validator:
    given = {"metrics": ("RR@10", "map"), "keep": ("RR@10",), "interval": 1}
    made = Validating(**{**given, **options}).build(context(out))
    assert isinstance(made, Validator)
    made.after_initialisation(training)  # type: ignore[arg-type]
    return made


def validated(listener: Validator, training: Faked, *scores: Any) -> list[float]:
    """The first metric after each of the scores, one iteration after the other."""
    found = []
    for iteration, training.now in enumerate(scores):
        found.append(listener.validate(Moment(iteration, 10 * iteration)).means["RR@10"])
    return found


def test_it_is_due_at_its_interval_after_warm_up_and_after_the_last_iteration(tmp_path: Path) -> None:
    def due(**options: Any) -> list[int]:
        listener = validator(tmp_path, Faked(), **options)
        return [iteration for iteration in range(10) if listener.due(iteration)]

    assert due(interval=1) == list(range(10))
    assert due(interval=2) == [0, 2, 4, 6, 8, 9]
    assert due(interval=2, warmup=3) == [4, 6, 8, 9]
    assert due(interval=4, warmup=9) == [9]


def test_values_are_those_of_the_reranked_run_and_of_the_first_stage(tmp_path: Path) -> None:
    training = Faked()
    listener = validator(tmp_path, training)
    training.now = MIDDLE
    found = listener.validate(Moment(3, 30))
    assert found.means == pytest.approx({"RR@10": 0.75, "map": 0.75})
    assert found.first_stage == pytest.approx({"RR@10": 2 / 3, "map": 2 / 3})
    assert (found.kind, found.name, found.scores) == ("dev", "dev", MIDDLE)


def test_the_best_weights_are_kept_per_metric_and_of_equals_the_earlier(tmp_path: Path) -> None:
    training = Faked()
    listener = validator(tmp_path, training, keep=("RR@10", "map"))
    assert validated(listener, training, BAD, MIDDLE, MIDDLE, BAD, GOOD) == pytest.approx([1 / 3, 0.75, 0.75, 1 / 3, 1])
    assert training.kept == ["best/RR@10", "best/map"] * 3
    assert listener.best["map"] == {"iter": 4, "value": 1.0, "path": "best/map"}
    assert dict(read_run(tmp_path / "dev.run")["q1"]) == GOOD["q1"]
    assert listener.result()["first_stage"]["map"] == pytest.approx(2 / 3)


def test_weights_of_another_dev_set_lie_under_its_name_and_leave_dev_run_alone(tmp_path: Path) -> None:
    training = Faked()
    listener = validator(tmp_path, training, set="news")
    validated(listener, training, GOOD)
    assert training.kept == ["best/news.RR@10"] and not (tmp_path / "dev.run").exists()


@pytest.mark.parametrize(
    ("options", "votes"),
    [
        ({}, [0, 0, 0, 0, 0]),
        ({"patience": 1}, [2, 2, 1, 1, 1]),  # bad, middle: better; middle, bad, middle: not
        ({"patience": 2}, [2, 2, 2, 1, 1]),
        ({"patience": 2, "min_delta": 0.5}, [2, 2, 1, 1, 1]),  # from 1/3 to 3/4 is not enough
        ({"patience": 2, "min_delta": 0.4}, [2, 2, 2, 1, 1]),
    ],
)
def test_it_votes_to_stop_when_patience_is_used_up_and_not_to_stop_before(
    tmp_path: Path, options: Any, votes: list[int]
) -> None:
    training = Faked()
    listener, cast = validator(tmp_path, training, **options), []
    for iteration, training.now in enumerate([BAD, MIDDLE, MIDDLE, BAD, MIDDLE]):
        listener.validate(Moment(iteration, 0))
        cast.append(listener.vote())
    assert cast == [Vote(vote) for vote in votes]


def test_patience_is_that_of_before_after_a_restore(tmp_path: Path) -> None:
    training = Faked()
    one, other = (validator(tmp_path, training, patience=2) for _ in range(2))
    validated(one, training, MIDDLE, BAD)
    other.restore(json.loads(json.dumps(one.state())))
    assert one.written.keys() == {"dev.run"}
    assert other.state() == one.state() == {"best": one.best, "written": one.written, "mark": 0.75, "waited": 1}
    validated(other, training, BAD)
    assert other.vote() is Vote.STOP
    assert other.reason() == "it: RR@10 of dev has not risen above 0.7500 in 2 validations"


def test_values_of_every_query_are_saved(tmp_path: Path) -> None:
    training = Faked()
    validated(validator(tmp_path, training, perquery=True), training, MIDDLE)
    saved = json.loads((tmp_path / "perquery/it/iter-00000.json").read_text())
    assert saved["values"]["RR@10"] == {"q1": 0.5, "q2": 1.0} and saved["set"] == "dev"
    assert FIRST["q1"]["a"] == 1.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metrics": ()}, "name at least one"),
        ({"metrics": ("map",), "keep": ("RR@10",)}, "RR@10 is not measured"),
        ({"min_delta": 0.1}, "does nothing without patience"),
    ],
)
def test_options_that_would_be_ignored_are_refused(options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Validating(**options)
