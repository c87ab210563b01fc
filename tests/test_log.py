"""Progress: a line now and then in a log, a bar of one line on a terminal."""

from __future__ import annotations

import io
import itertools
from types import SimpleNamespace

import pytest

from rankcli.log import Progress, say

CLEAR = "\r\x1b[K"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def last(self) -> str:
        """The last line."""
        return self.getvalue().rsplit(CLEAR, 1)[1]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    found = Terminal()
    monkeypatch.setattr("rankcli.log.sys", SimpleNamespace(stderr=found))
    monkeypatch.setenv("COLUMNS", "200")
    return found


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


def test_lines_of_a_long_work_become_fewer(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Progress(36_000, "training", "steps", clock) as bar:
        for _ in range(36_000):  # ten hours, a step a second
            clock.now += 1
            bar.advance()
    seconds = [int(line.split()[1].split("/")[0]) for line in capsys.readouterr().err.splitlines()]
    assert seconds[:3] == [5, 10, 15] and seconds[-1] - seconds[-2] == 60
    assert 600 < len(seconds) < 700


def test_what_was_done_before_does_not_count_in_rate_and_eta(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Progress(100, "training", "steps", clock) as bar:
        bar.advance(90)
        bar.start_here()
        clock.now = 10
        bar.advance(5)
    assert capsys.readouterr().err == "training: 95/100 steps\n"
    bar.advance(1)
    clock.now += 10
    bar.advance(1)
    assert bar.line() == "training: 97/100 steps, 0.2 steps/s, ETA 15 s"


def test_the_first_unit_does_not_count_in_rate_and_eta() -> None:
    clock = Clock()
    bar = Progress(100, "training", "steps", clock)
    clock.now = 60  # it compiles
    bar.advance()
    assert bar.line() == "training: 1/100 steps"
    for _ in range(9):
        clock.now += 2
        bar.advance()
    assert bar.line() == "training: 10/100 steps, 0.5 steps/s, ETA 3m00s"


def test_the_rate_is_that_of_the_last_twenty_seconds_and_the_eta_that_of_all() -> None:
    clock = Clock()
    bar = Progress(1000, "training", "steps", clock)
    for step in itertools.chain([4] * 101, [1] * 60):  # 400 s of a step in 4 s, then 60 s of a step a second
        clock.now += step
        bar.advance()
    # 160 steps in 460 s since the first one; 839 remain
    assert bar.line() == "training: 161/1000 steps, 1.0 steps/s, ETA 40m12s"


def test_many_units_a_second_keep_few_points() -> None:
    clock = Clock()
    bar = Progress(10**6, "tokenising", "texts", clock)
    for _ in range(30_000):
        clock.now += 0.001
        bar.advance()
    assert bar.line() == "tokenising: 30000/1000000 texts, 1000.0 texts/s, ETA 16m10s"
    assert len(bar._recent) <= 203


FIELDS = {"loss": "0.5321", "lr": "1.99e-05 9.95e-04", "pairs/s": "812", "tokens/s": "104k", "pad": "31%"}


def test_a_line_leaves_out_what_does_not_fit_into_120_columns() -> None:
    clock = Clock()
    bar = Progress(10_000, "training", "steps", clock)
    bar.advance(1000, **FIELDS)
    clock.now = 2
    bar.advance(100, **FIELDS, wait="2%")
    assert bar.line() == (
        "training: 1100/10000 steps, loss 0.5321, lr 1.99e-05 9.95e-04, pairs/s 812, tokens/s 104k, pad 31%, "
        "wait 2%, ETA 2m58s"
    )
    assert len(bar.line()) == 118  # the rate would be too much
    clock.now = 200
    bar.advance(1, **FIELDS, wait="2%", more="x")
    assert bar.line().endswith(", pad 31%, wait 2%, ETA 4h53m")
    bar.label = "some training"
    assert bar.line().endswith(", tokens/s 104k, pad 31%, ETA 4h53m")


def test_a_terminal_shows_a_bar_and_clears_it(terminal: Terminal) -> None:
    clock = Clock()
    with Progress(4, "training", "steps", clock) as bar:
        assert terminal.last() == "training " + "─" * 24 + " 0/4"
        for _ in range(3):
            clock.now += 2
            bar.advance(1, loss="0.5")
        assert terminal.last() == "training " + "━" * 18 + "─" * 6 + " 3/4, loss 0.5, 0.5 steps/s, ETA 2 s"
    assert terminal.last() == ""
    assert "\n" not in terminal.getvalue()


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 100, 120, 300])
def test_a_bar_is_never_wider_than_its_terminal(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    clock = Clock()
    with Progress(100_000, "training", "steps", clock) as bar:
        for _ in range(3):
            clock.now += 1
            bar.advance(1, **FIELDS, wait="2%")
        assert len(terminal.last()) <= min(columns - 1, 120)
        if columns == 80:
            assert terminal.last() == "training ──────── 3/100000, loss 0.5321, lr 1.99e-05 9.95e-04, ETA 27h46m"
        if columns == 300:
            assert terminal.last() == (
                "training ──────── 3/100000, loss 0.5321, lr 1.99e-05 9.95e-04, pairs/s 812, tokens/s 104k, pad 31%, "
                "wait 2%, ETA 27h46m"
            )


def test_a_bar_is_drawn_ten_times_a_second_at_most(terminal: Terminal) -> None:
    clock = Clock()
    with Progress(10**5, "training", "steps", clock) as bar:
        for _ in range(10_000):
            clock.now += 0.001
            bar.advance()
    assert terminal.getvalue().count("training") <= 101


def test_a_message_stands_above_the_bar(terminal: Terminal) -> None:
    with Progress(4, "training", "steps", Clock()):
        say("iteration 1: done")
        bar = "training " + "─" * 24 + " 0/4"
        assert terminal.getvalue().endswith(f"{CLEAR}iteration 1: done\n{CLEAR}{bar}")
    say("after")
    assert terminal.getvalue().endswith(f"{CLEAR}after\n")


def test_a_bar_within_a_bar_takes_its_place_and_gives_it_back(terminal: Terminal) -> None:
    with Progress(4, "training", "steps", Clock()):
        with Progress(2, "validating", "pairs", Clock()):
            say("inner")
            assert terminal.last().startswith("validating ")
        say("outer")
        assert terminal.last().startswith("training ")


def test_a_terminal_without_unicode_gets_another_bar(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Terminal, "encoding", "ascii")
    with Progress(4, "training", "steps", Clock()) as bar:
        bar.advance(1)
        bar.draw()
        assert terminal.last().startswith("training " + "#" * 6 + "-" * 18 + " 1/4")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1m00s"), (200, "3m20s"), (3599.6, "1h00m"), (7500, "2h05m")],
)
def test_what_remains_is_said_in_two_units(seconds: float, text: str) -> None:
    clock = Clock()
    bar = Progress(40, "training", "steps", clock)
    bar.advance(10)
    clock.now = seconds
    bar.advance(15)
    assert bar.line().endswith(f", ETA {text}")


def test_many_units_in_no_time_are_no_rate() -> None:
    bar = Progress(1000, "training", "steps", Clock())
    bar.advance()
    bar.advance(500)
    assert bar.line() == "training: 501/1000 steps"


def test_nothing_is_foretold_from_a_first_unit_or_from_an_instant() -> None:
    clock = Clock()
    bar = Progress(1000, "training", "steps", clock)
    clock.now = 30
    bar.advance()
    assert "ETA" not in bar.line()
    for _ in range(9):
        clock.now += 0.1
        bar.advance()
        assert "ETA" not in bar.line()
    clock.now += 0.1
    bar.advance()
    assert bar.line() == "training: 11/1000 steps, 10.0 steps/s, ETA 1m39s"
