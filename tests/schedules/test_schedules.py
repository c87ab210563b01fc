"""Every schedule against its formula, by hand."""

from __future__ import annotations

import math

import pytest

from rankcli.config.registry import SCHEDULES
from rankcli.schedules.base import ScheduleContext

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


@pytest.mark.parametrize(("steps", "warmup", "per_iter"), [(60, 7, 6), (20, 0, 5), (5, 4, 1), (1, 0, 1)])
def test_every_step_of_every_schedule_has_the_value_of_its_formula(steps: int, warmup: int, per_iter: int) -> None:
    """Sums of the formulas' terms and repeated products, written without the schedules' helpers."""
    left = steps - warmup
    formulas = {
        ("constant",): lambda n: 1.0,
        ("linear", "floor", 0.0): lambda n: (left - n) / left,
        ("linear", "floor", 0.3): lambda n: 0.3 * n / left + (left - n) / left,
        ("cosine", "floor", 0.0): lambda n: math.cos(math.pi * n / (2 * left)) ** 2,
        ("cosine", "floor", 0.2): lambda n: 0.2 + 0.8 * math.cos(math.pi * n / (2 * left)) ** 2,
        ("exponential", "decay", 0.5): lambda n: math.exp(math.log(0.5) * n / (3 * per_iter)),
        ("inverse_time", "decay", 0.25): lambda n: per_iter / (per_iter + 0.25 * n),
        ("step", "step_size", 3): lambda n: math.prod([0.1] * (n // 3)),
    }
    assert {name for name, *_ in formulas} == set(SCHEDULES.names())
    for (name, *option), formula in formulas.items():
        options = {option[0]: option[1]} if option else {}
        factor = SCHEDULES.get(name)(**options).build(ScheduleContext(steps, warmup, per_iter))
        for s in range(steps):
            expected = (s + 1) / warmup if s < warmup else formula(s - warmup)
            assert factor(s) == pytest.approx(expected, abs=1e-12), (name, options, s)


def test_without_warm_up_the_first_step_has_the_full_rate() -> None:
    assert SCHEDULES.get("linear")().build(ScheduleContext(10, 0, 5))(0) == 1.0


@pytest.mark.parametrize(
    ("name", "options"), [("exponential", {"decay": 0.0}), ("step", {"gamma": 0.0, "step_size": 1})]
)
def test_a_rate_that_would_fall_to_zero_is_refused(name: str, options: dict) -> None:
    with pytest.raises(ValueError, match="above 0"):
        SCHEDULES.get(name)(**options)
