"""A grid grows where the best setting is at its edge."""

from __future__ import annotations

from rankcli.searchers.tune import Axis, tune

AXES = {"x": Axis((1, 2, 3, 4, 5, 6), 2, 4), "y": Axis((0.0, 0.5, 1.0), 0.5, 1.0)}


def test_a_best_setting_inside_the_grid_ends_the_search() -> None:
    tuned = tune({"x": AXES["x"]}, lambda at: -abs(at["x"] - 3), {"x": 2})
    assert tuned.chosen == {"x": 3} and tuned.value == 0 and tuned.edges == []
    assert [setting["x"] for setting, _ in tuned.table] == [2, 3, 4]


def test_an_edge_is_widened_until_it_is_passed_or_the_axis_ends() -> None:
    tuned = tune(AXES, lambda at: -abs(at["x"] - 5) - at["y"], {"x": 2, "y": 0.5})
    assert tuned.chosen == {"x": 5, "y": 0.0} and tuned.edges == ["y"]
    assert {setting["x"] for setting, _ in tuned.table} == {2, 3, 4, 5, 6}, "1 is never tried"
    assert len(tuned.table) == len({tuple(setting.values()) for setting, _ in tuned.table})


def test_equal_values_go_to_the_nearest_setting_then_to_the_smaller() -> None:
    assert tune(AXES, lambda at: 1.0, {"x": 3, "y": 0.6}).chosen == {"x": 3, "y": 0.5}
    assert tune({"x": AXES["x"]}, lambda at: float(at["x"] != 3), {"x": 3}).chosen == {"x": 2}
