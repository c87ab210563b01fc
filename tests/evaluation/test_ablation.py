"""Stages that are kept only if they pay."""

from __future__ import annotations

import pytest

from rankcli.evaluation.ablation import Stage, ablation_table

BEFORE = {"a": 0.2, "b": 0.4, "c": 0.6}


def test_gain_and_standard_error_by_hand() -> None:
    found = Stage.after("+ x", {"a": 0.3, "b": 0.4, "c": 0.9}, BEFORE)
    # gains .1, 0, .3: mean .4 / 3, variance (.01 + .09 - .16 / 3) / 2
    assert found.gain == pytest.approx(0.4 / 3)
    assert found.error == pytest.approx(((0.1 - 0.16 / 3) / 2 / 3) ** 0.5)
    assert found.kept and found.value == pytest.approx(1.6 / 3)
    assert not Stage.after("+ x", {"a": 0.1, "b": 0.4, "c": 0.8}, BEFORE).kept, "a gain within its error"
    assert not Stage.after("+ x", BEFORE, BEFORE).kept, "nothing is not a gain"


def test_the_table_leaves_out_what_the_first_stage_does_not_have() -> None:
    stages = [Stage.first("x", BEFORE), Stage.after("+ y", {"a": 0.3, "b": 0.5, "c": 0.7}, BEFORE)]
    assert ablation_table([each._asdict() for each in stages])[1:] == [
        ["x", "0.4000", "", "", "yes"],
        ["+ y", "0.5000", "+0.1000", "0.0000", "yes"],
    ]
