"""Charts: every coordinate and label against numbers worked out by hand."""

from __future__ import annotations

import math
import re

import pytest

from rankcli.report.charts import COLUMNS, Curve, binned, curve, gains, shares
from rankcli.report.scale import Scale, fitted


@pytest.mark.parametrize(
    ("low", "high", "ticks", "labels"),
    [
        (0.0, 1.0, [0, 0.5, 1], ["0.0", "0.5", "1.0"]),
        (0.97, 1.153, [0.95, 1.0, 1.05, 1.1, 1.15, 1.2], ["0.95", "1.00", "1.05", "1.10", "1.15", "1.20"]),
        (-1.0, 0.4, [-1, -0.5, 0, 0.5], ["−1.0", "−0.5", "0.0", "0.5"]),
        (0.0, 2e-5, [0, 5e-6, 1e-5, 1.5e-5, 2e-5], ["0", "5.0e−06", "1.0e−05", "1.5e−05", "2.0e−05"]),
        (0.0, 3e6, [0, 1e6, 2e6, 3e6], ["0", "1e+06", "2e+06", "3e+06"]),
        (2.0, 2.0, [1.8, 1.9, 2.0, 2.1, 2.2], ["1.8", "1.9", "2.0", "2.1", "2.2"]),
        (0.0, 0.0, [-1, -0.5, 0, 0.5, 1], ["−1.0", "−0.5", "0.0", "0.5", "1.0"]),
    ],
)
def test_ticks_are_round_and_hold_all_values(low: float, high: float, ticks: list[float], labels: list[str]) -> None:
    scale = fitted(low, high, 0, 100)
    assert scale.ticks == pytest.approx(ticks) and [scale.label(tick) for tick in scale.ticks] == labels
    assert scale.low <= low and scale.high >= high * (1 - 1e-12)
    assert scale(scale.low) == 0 and scale(scale.high) == pytest.approx(100)


def test_iterations_have_whole_ticks() -> None:
    assert fitted(0, 2, 0, 1, 6, whole=True).ticks == [0, 1, 2]
    assert fitted(1, 100, 0, 1, 6, whole=True).ticks == [0, 20, 40, 60, 80, 100]
    assert Scale(1, 100, 0, 1, 20).ticks == [20, 40, 60, 80, 100]
    assert fitted(3, 3, 0, 1, 6, whole=True).ticks == [2, 3, 4]


def places(svg: str, what: str) -> list[tuple[float, ...]]:
    """The numbers in the elements that match."""
    return [tuple(float(number) for number in found) for found in re.findall(what, svg)]


def test_a_curve_lies_where_its_values_are() -> None:
    svg = curve(Curve("dev map", [(0, 0.2), (1, 0.4), (2, 0.35)], best=1, baseline=0.25))
    assert svg is not None
    # across 58 to 346 (6 from both ends of 52 to 352): 58, 202, 346; down 172 (0.2) to 10 (0.4): 0.35 is at 50.5
    assert 'points="58,172 202,10 346,50.5" class="curve"' in svg
    assert places(svg, r'<circle cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)" class="dot"') == [
        (58, 172, 2.5),
        (346, 50.5, 2.5),
    ]
    assert places(svg, r'<circle cx="([\d.]+)" cy="([\d.]+)" r="5" class="best"') == [(202, 10)]
    assert '<line x1="52" x2="352" y1="131.5" y2="131.5" class="first">' in svg  # 0.25: a quarter of 162 above 172
    assert re.findall(r'class="left">([^<]+)<', svg) == ["0.20", "0.25", "0.30", "0.35", "0.40", "iter."]
    assert re.findall(r'class="below">([^<]+)<', svg) == ["0", "1", "2"]
    assert "<title>iteration 1: 0.4</title>" in svg


def test_a_learning_rate_is_drawn_from_zero() -> None:
    svg = curve(Curve("lr", [(1, 2e-5), (2, 1e-5)], from_zero=True))
    assert svg is not None and 'points="58,10 346,91"' in svg


@pytest.mark.parametrize("gap", [math.nan, math.inf, None, "0.3"])
def test_a_curve_is_broken_where_a_value_is_missing(gap: object) -> None:
    svg = curve(Curve("loss", [(1, 4.0), (2, 2.0), (3, gap), (4, 3.0), (5, gap), (6, 2.0), (7, 4.0)]))
    assert svg is not None
    assert re.findall(r'points="([^"]+)"', svg) == ["58,10 106,172", "298,172 346,10"]
    assert len(re.findall("<circle", svg)) == 5  # the value that stands alone is a dot
    assert "nan" not in svg.lower() and "inf" not in svg.lower()


def test_many_points_have_no_dots_but_the_best() -> None:
    svg = curve(Curve("loss", [(n, float(n)) for n in range(100)], best=70))
    assert svg is not None and len(re.findall("<circle", svg)) == 1 and "<title>iteration 70: 70</title>" in svg


def test_a_single_point_is_in_the_middle() -> None:
    svg = curve(Curve("loss", [(1, 2.0)]))
    assert svg is not None and '<circle cx="202" cy="91" r="2.5" class="dot">' in svg and "polyline" not in svg


@pytest.mark.parametrize("points", [[], [(1, math.nan)], [(None, 1.0)]])
def test_nothing_is_drawn_of_nothing(points: list[tuple[object, object]]) -> None:
    assert curve(Curve("loss", points)) is None


def test_gains_and_losses_are_columns_from_the_largest_gain_to_the_largest_loss() -> None:
    svg = gains("map", [1.0, 0.5, 0.5, 0.0, 0.0, -1.0])
    assert svg is not None
    # six columns of 50 from 52 to 352; 1 at 10, 0 at 91, -1 at 172
    assert '<path d="M52,91V10H102V50.5H202V91H352V91Z" class="gain">' in svg
    assert '<path d="M52,91V91H302V172H352V91Z" class="loss">' in svg
    assert '<line x1="52" x2="352" y1="91" y2="91" class="zero">' in svg
    assert re.findall(r'class="left">([^<]+)<', svg) == ["−1.0", "−0.5", "0.0", "0.5", "1.0"]


def test_no_change_is_no_chart() -> None:
    assert gains("map", [0.0, 0.0]) is None and gains("map", []) is None


def test_more_queries_than_can_be_seen_are_drawn_as_means() -> None:
    assert binned([4.0, 2.0, 1.0, 1.0, 0.0], 5) == [4.0, 2.0, 1.0, 1.0, 0.0]
    assert binned([4.0, 2.0, 1.0, 1.0, 0.0, -2.0], 3) == [3.0, 1.0, -1.0]
    assert binned([4.0, 2.0, 1.0, 0.0, 0.0], 2) == [3.0, pytest.approx(1 / 3)]
    values = [1 - n / 50_000 for n in range(100_001)]
    svg = gains("map", values)
    assert svg is not None and len(svg) < 40_000 and len(binned(values, COLUMNS)) == COLUMNS


def test_shares_divide_a_bar() -> None:
    svg = shares("won", [("gain", 0.25), ("tie", 0.5), ("loss", 0.25)])
    assert places(svg, r'<rect x="([\d.]+)" y="0" width="([\d.]+)"') == [(0, 25), (25, 50), (75, 25)]
    assert re.findall(r'class="(gain|tie|loss)"', svg) == ["gain", "tie", "loss"]


def test_a_baseline_beyond_the_curve_is_within_the_chart() -> None:
    svg = curve(Curve("dev map", [(1, 0.2), (2, 0.3)], baseline=0.6))
    # 0.2 to 0.6 in steps of 0.1
    assert svg is not None and 'points="58,172 346,131.5"' in svg and 'y1="10" y2="10" class="first"' in svg
