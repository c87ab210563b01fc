"""Patience: when a value counts as better, and what is voted."""

from __future__ import annotations

from typing import Any

import pytest

from rankcli.listeners.base import Vote
from rankcli.listeners.patience import Patience


@pytest.mark.parametrize(
    ("better", "min_delta", "values", "waited"),
    [
        ("above", 0.0, [0.5, 0.5, 0.4, 0.6, 0.6], [0, 1, 2, 0, 1]),
        ("above", 0.25, [0.5, 0.75, 0.875], [0, 1, 0]),  # exactly 0.25 more is not more than 0.25
        ("below", 0.0, [2.0, 2.0, 3.0, 1.0], [0, 1, 2, 0]),
        ("below", 0.5, [2.0, 1.5, 1.75, 1.25], [0, 1, 2, 0]),
    ],
)
def test_values_that_are_not_better_by_enough_are_counted(
    better: Any, min_delta: float, values: list[float], waited: list[int]
) -> None:
    patience, counts = Patience(better, 2, min_delta), []
    for value in values:
        patience.see(value)
        counts.append(patience.waited)
    assert counts == waited
    again = Patience(better, 2, min_delta)
    again.restore(patience.state())
    assert again == patience


def test_the_vote_is_to_stop_when_the_limit_is_reached() -> None:
    patience, endless, votes = Patience("above", 2, 0.0), Patience("above", None, 0.0), []
    for value in (1.0, 1.0, 1.0):
        votes.append(patience.vote())
        patience.see(value)
        endless.see(value)
    assert votes == [Vote.DONT_STOP] * 3
    assert (patience.vote(), endless.vote()) == (Vote.STOP, Vote.NO_DECISION)
