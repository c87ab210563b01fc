"""Numbers as they are read."""

from __future__ import annotations

import math

import pytest

from rankcli.report import numbers


@pytest.mark.parametrize(
    ("how", "value", "written"),
    [
        ("measure", 0.33424, "0.3342"),
        ("change", 0.0322, "+0.0322"),
        ("change", -0.5, "−0.5000"),
        ("change", 0.0, "+0.0000"),
        ("change", -0.00001, "+0.0000"),
        ("probability", 0.0001, "0.0001"),
        ("probability", 0.00009, "<0.0001"),
        ("probability", 1.0, "1.0000"),
        ("share", 0.0, "0 %"),
        ("share", 0.004, "0.4 %"),
        ("share", 0.345, "34 %"),
        ("share", 1.0, "100 %"),
        ("count", 3138, "3,138"),
        ("count", 8.06, "8.1"),
        ("count", 8, "8"),
        ("plain", 2e-05, "2e−05"),
        ("plain", 5.0, "5"),
        ("plain", 1.1532213, "1.15322"),
        ("duration", 0.04, "0.0 s"),
        ("duration", 9.94, "9.9 s"),
        ("duration", 9.96, "10 s"),
        ("duration", 59.6, "1 min 00 s"),
        ("duration", 200, "3 min 20 s"),
        ("duration", 7500, "2 h 05 min"),
    ],
)
def test_a_number(how: str, value: float, written: str) -> None:
    assert getattr(numbers, how)(value) == written


@pytest.mark.parametrize("how", ["measure", "change", "probability", "share", "count", "plain", "duration"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "0.5", True])
def test_what_is_no_finite_number_is_a_dash(how: str, value: object) -> None:
    assert getattr(numbers, how)(value) == "–"
