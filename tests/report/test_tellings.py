"""The page of a run: gains and losses, verdicts, history and time, worked out by hand."""

from __future__ import annotations

import json
import math

import pytest

from rankcli.report.curves import without_outlier
from rankcli.report.gains import Change, Gains
from rankcli.report.history import RunHistory
from rankcli.report.sections import command
from rankcli.report.timing import missing, parts, slowest
from rankcli.report.verdict import compared, sentence


def test_changes_are_sorted_and_counted() -> None:
    before = {"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.0, "e": 1.0}
    found = Gains.of(before, {"a": 0.5, "b": 1.0, "c": 0.25, "d": 0.5, "e": 0.0})
    assert [change.qid for change in found.changes] == ["b", "d", "a", "c", "e"]
    assert (found.wins, found.ties, found.losses) == (2, 1, 2)
    assert found.largest(1) == (Change("b", 0.5, 1.0),) and found.largest(9) == found.changes[:2]
    assert found.worst(1) == (Change("e", 1.0, 0.0),)
    assert [change.qid for change in found.worst(9)] == ["e", "c"]
    assert [change.by for change in found.changes] == [0.5, 0.5, 0.0, -0.25, -1.0]


def test_queries_without_a_finite_value_are_left_out() -> None:
    found = Gains.of({"a": 0.5, "b": math.nan, "c": 0.5}, {"a": 0.6, "b": 0.1})
    assert [change.qid for change in found.changes] == ["a"]


def split(first: object, reranked: object, p: object, p_holm: object) -> dict[str, object]:
    return {
        "first_stage": {"map": first},
        "reranked": {"map": reranked},
        "p": {"map": {"reranked": p}},
        "p_holm": {"map": {"reranked": p_holm}},
    }


@pytest.mark.parametrize(
    ("values", "words", "answer"),
    [
        ((0.4, 0.5, 0.01, 0.03), "significantly better", "yes, better"),
        ((0.4, 0.3, 0.01, 0.03), "significantly worse", "yes, worse"),
        ((0.4, 0.5, 0.03, 0.06), "no significant difference", "no"),  # what counts is the adjusted p
        ((0.4, 0.5, 0.049, None), "significantly better", "yes, better"),
        ((0.4, 0.5, 0.05, 0.05), "no significant difference", "no"),
        ((0.4, 0.4, 1.0, 1.0), "no difference", "no"),
        ((0.4, 0.5, None, None), "not tested", "–"),
        ((0.4, 0.5, math.nan, math.nan), "not tested", "–"),
        ((0.4, None, 0.01, 0.01), "not tested", "–"),
    ],
)
def test_significance_is_said_in_words(values: tuple[object, ...], words: str, answer: str) -> None:
    found = compared(split(*values), "reranked", "map")
    assert (found.words, found.answer) == (words, answer)


def test_the_result_in_one_sentence() -> None:
    assert sentence(split(0.4, 0.5, 0.01234, 0.00001), "reranked", "map") == (
        "map on the test queries rises from 0.4000 (first stage) to 0.5000 (reranked): +0.1000, +25.0\u00a0%, "
        "significantly better (p\u00a0=\u00a00.0123; Holm-adjusted p\u00a0<\u00a00.0001)."
    )
    assert sentence(split(0.5, 0.4, 0.2, 0.4), "reranked", "map") == (
        "map on the test queries falls from 0.5000 (first stage) to 0.4000 (reranked): −0.1000, −20.0\u00a0%, "
        "no significant difference (p\u00a0=\u00a00.2000; Holm-adjusted p\u00a0=\u00a00.4000)."
    )
    assert sentence(split(0.5, 0.5, 1.0, None), "reranked", "map") == (
        "map on the test queries stays at 0.5000 (reranked): no difference (p\u00a0=\u00a01.0000)."
    )
    assert sentence(split(0.0, 0.5, None, None), "reranked", "map") == (
        "map on the test queries rises from 0.0000 (first stage) to 0.5000 (reranked): +0.5000, not tested."
    )
    assert "no map of both" in sentence({}, "reranked", "map")


LINES = [
    {"iter": 0, "step": 0, "dev": {"map": 0.1, "RR@10": 0.2}, "time": {"start": 2.0, "validation": 5.0}},
    {"iter": 1, "step": 8, "loss": 2.5, "lr": {"bertlr": 1e-5}, "pairs_per_second": 10.0, "time": {"steps": 6.0}},
    {"iter": 1, "step": 8, "dev": {"map": 0.3}, "time": {"checkpoints": 1.0, "validation": 5.0}},
    {"iter": 2, "step": 16, "loss": math.nan, "lr": {"bertlr": 0.0}, "pairs_per_second": 30.0, "waiting_share": 0.1},
]


def test_the_history_by_iteration() -> None:
    found = RunHistory.parse(
        "".join(json.dumps(line) + "\n" for line in LINES) + '{"iter": 3, "ste\n[1]\n\n{"dev": {}}\n'
    )
    assert found.unreadable == 3
    assert found.loss[0] == (1, 2.5) and math.isnan(found.loss[1][1])  # type: ignore[arg-type]
    assert found.learning_rates() == {"bertlr": [(1, 1e-5), (2, 0.0)]}
    assert found.dev() == {"map": [(0, 0.1), (1, 0.3)], "RR@10": [(0, 0.2)]}
    assert found.seconds() == {"start": 2.0, "validation": 10.0, "steps": 6.0, "checkpoints": 1.0}
    assert found.rates() == {"pairs_per_second": 20.0, "waiting_share": 0.1}


def test_entries_of_other_shapes_are_survived() -> None:
    lines = [{"iter": 1, "lr": 3, "time": [1]}, {"iter": 2, "lr": {"a": "x"}, "time": {"steps": -1}}]
    found = RunHistory.parse("\n".join(map(json.dumps, lines)))
    assert found.loss == [(1, None), (2, None)] and found.learning_rates() == {"a": [(2, "x")]}
    assert found.seconds() == {} and found.rates() == {} and found.dev() == {}


def test_the_slowest_part_is_named() -> None:
    found = parts(RunHistory.parse(json.dumps(LINES[2])), {"train_seconds": 9.0, "seconds": {"conversion": 15.0}})
    assert [(part.key, part.seconds) for part in found] == [
        ("conversion", 15.0),
        ("steps", 9.0),
        ("validation", 5.0),
        ("checkpoints", 1.0),
    ]
    assert [part.share for part in found] == pytest.approx([0.5, 0.3, 1 / 6, 1 / 30])
    assert slowest(found) == "converting texts to records, 50 % of 30 s"
    assert missing(found) == ["building or restoring the model", "waiting for input", "reranking test"]


def test_recorded_steps_count_once() -> None:
    found = parts(RunHistory.parse(json.dumps(LINES[1])), {"train_seconds": 9.0})
    assert [(part.key, part.seconds) for part in found] == [("steps", 6.0)]
    assert slowest(found) == ""  # nothing to compare with
    assert parts(RunHistory(), {"train_seconds": math.nan}) == [] and slowest([]) == ""


def test_an_untrained_value_far_below_is_left_out_of_the_curve() -> None:
    assert without_outlier([(0, 0.1), (1, 0.3), (2, 0.25)]) == ([(1, 0.3), (2, 0.25)], 0.1)
    assert without_outlier([(0, 0.2), (1, 0.3), (2, 0.25)]) == ([(0, 0.2), (1, 0.3), (2, 0.25)], None)
    assert without_outlier([(0, 0.1), (1, 0.3)]) == ([(0, 0.1), (1, 0.3)], None)  # a curve needs two points


def test_the_command_is_the_one_typed() -> None:
    assert command(["/opt/env/bin/rankcli", "train", "--config", "my config.yaml"]) == (
        "rankcli train --config 'my config.yaml'"
    )
    assert command(["/lib/rankcli/__main__.py", "train"]) == "rankcli train"
    assert command(["notebook.py"]) == "notebook.py"
