"""Every schedule against its formula, by hand."""

from __future__ import annotations

import math

import pytest

from rankcli.config.registry import SCHEDULES
from rankcli.schedules._base import ScheduleContext

CONTEXT = ScheduleContext(steps=20, warmup=4, steps_per_iter=5)


@pytest.mark.parametrize("name", SCHEDULES.names())
def test_warm_up_rises_by_equal_steps_to_one(name: str) -> None:
    options = {"exponential": {"decay": 0.5}, "inverse_time": {"decay": 0.1}, "step": {"step_size": 3}}.get(name, {})
    factor = SCHEDULES.get(name)(**options).build(CONTEXT)
    assert [factor(s) for s in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert factor(4) == 1.0


@pytest.mark.parametrize(
    ("name", "options", "step", "expected"),
    [
        ("constant", {}, 19, 1.0),
        ("linear", {}, 12, 0.5),
        ("linear", {}, 19, 1 / 16),
        ("linear", {"floor": 0.2}, 12, 0.6),
        ("cosine", {}, 12, 0.5),
        ("cosine", {"floor": 0.1}, 8, 0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2),
        ("exponential", {"decay": 0.5, "decayiters": 1}, 14, 0.25),
        ("exponential", {"decay": 0.5}, 19, 0.5),
        ("inverse_time", {"decay": 0.1}, 14, 1 / 1.2),
        ("step", {"step_size": 3}, 6, 1.0),
        ("step", {"step_size": 3, "gamma": 0.5}, 13, 0.125),
    ],
)
def test_value_after_warm_up(name: str, options: dict, step: int, expected: float) -> None:
    assert SCHEDULES.get(name)(**options).build(CONTEXT)(step) == pytest.approx(expected, abs=1e-12)


def test_without_warm_up_the_first_step_has_the_full_rate() -> None:
    assert SCHEDULES.get("linear")().build(ScheduleContext(10, 0, 5))(0) == 1.0


@pytest.mark.parametrize(
    ("name", "options"), [("exponential", {"decay": 0.0}), ("step", {"gamma": 0.0, "step_size": 1})]
)
def test_a_rate_that_would_fall_to_zero_is_refused(name: str, options: dict) -> None:
    with pytest.raises(ValueError, match="above 0"):
        SCHEDULES.get(name)(**options)
