"""Progress in a log: a line now and then, not a bar."""

from __future__ import annotations

import pytest

from rankcli.log import Progress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_a_terminal_a_line_comes_every_five_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Progress(10, "training", "steps", clock) as bar:
        for _ in range(10):
            clock.now += 2
            bar.advance(1, loss="0.5")
    assert capsys.readouterr().err.splitlines() == [
        "training: 3/10 steps, loss 0.5, 0.5 steps/s, ETA 14 s",
        "training: 6/10 steps, loss 0.5, 0.5 steps/s, ETA 8 s",
        "training: 9/10 steps, loss 0.5, 0.5 steps/s, ETA 2 s",
    ]


def test_what_was_done_before_does_not_count_in_rate_and_eta(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Progress(100, "training", "steps", clock) as bar:
        bar.advance(90)
        bar.start_here()
        clock.now = 10
        bar.advance(5)
    assert capsys.readouterr().err == "training: 95/100 steps, 0.5 steps/s, ETA 10 s\n"
