"""Trainings that are killed or stopped at any moment and started again: nothing of their result shows it."""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections import Counter

import pytest

from tests.faults.project import counts
from tests.faults.training import EVERY, KEEP, Process, Run, Trainings, interrupted, wait_until

pytestmark = pytest.mark.faults
SHORT, LONG = 60, 160  # groups per iteration


KINDS = ("steps", "checkpoints", "validate", "any time", "restore", "best")


class Moments:
    """Moments uniform over the time that an undisturbed training takes, or soon after something has begun, in turn from
    kind `number` on: some may never come in a training that has got so far.
    """

    def __init__(self, run: Run, takes: float, number: int) -> None:
        self.run, self.takes, self.draw = run, takes, random.Random(number)
        self._kinds = itertools.islice(itertools.cycle(KINDS), number, None)

    def __call__(self, process: Process) -> None:
        kind = next(self._kinds)
        if kind == "any time":
            process.wait(self.draw.uniform(0, self.takes))
            return
        if kind == "steps":
            step = self.run.steps() + self.draw.randint(2 * EVERY, 3 * EVERY)
            wait_until(process, lambda: self.run.steps() >= step)
        elif kind in ("restore", "validate"):
            before = len(self.run.noted(kind))
            wait_until(process, lambda: len(self.run.noted(kind)) > before)
        else:
            wait_until(process, lambda: any(self.run.out.glob(f"{kind}/*.tmp.*/*")))
        process.wait(self.draw.uniform(0, 0.05))


def killed(process: Process) -> bool:
    return process.kill()


def check_after_a_kill(run: Run, before: int) -> None:
    """All that was complete still exists; no more steps than lie between two checkpoints are done again."""
    assert run.saved() >= before
    assert run.steps() - run.saved() <= 2 * EVERY  # one was being written when the next became due
    written = list(run.out.glob("checkpoints/**/ckpt.data-*"))
    assert len(written) <= KEEP + 1, written


@pytest.mark.parametrize(
    ("devices", "kills", "groups"),
    [
        ("one device", 6, SHORT),
        pytest.param("one device", 100, LONG, marks=pytest.mark.slow),
        pytest.param("two devices", 50, LONG, marks=pytest.mark.slow),
        pytest.param("micro-batches", 50, LONG, marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments(trainings: Trainings, devices: str, kills: int, groups: int) -> None:
    """Variables, slots, weights, runs, metrics and the names of files are those of a training left alone."""
    wanted, losses, takes = trainings.whole(devices, groups)
    phases, rounds = Counter[str](), 0
    while sum(phases.values()) < kills:
        run = trainings.new(devices, groups)
        moments, saved = Moments(run, takes, sum(phases.values()) + rounds), 0
        for _ in range(min(10, kills - sum(phases.values()))):
            if not interrupted(run, moments, killed, phases):
                break
            check_after_a_kill(run, saved)
            saved = run.saved()
        finished, saved = (run.out / "result.json").exists(), run.saved()
        last = run.start()
        assert last.wait() == 0, last.said()
        if saved > 0 and not finished:
            assert f"resuming at step {saved} of {len(losses)}\n" in last.said()
        assert run.result()["names"] == wanted["names"], phases
        assert run.result() == wanted and run.losses() == losses
        rounds += 1
    print(f"{sum(phases.values())} kills in {rounds} trainings of {takes:.1f} s: {dict(phases)}")
    assert len(phases) >= (5 if kills > 10 else 2)


@pytest.mark.parametrize(
    ("stops", "groups"), [(2, SHORT), pytest.param(200, LONG, marks=pytest.mark.slow)], ids=["2", "200"]
)
def test_stopped_at_random_moments(trainings: Trainings, stops: int, groups: int) -> None:
    """By SIGTERM and SIGINT in turn: exit code 143 or 130, and no step that was made is lost."""
    wanted, losses, takes = trainings.whole("one device", groups)
    phases, rounds, longest = Counter[str](), 0, 0.0
    while sum(phases.values()) < stops:
        run = trainings.new("one device", groups)
        moments = Moments(run, takes, sum(phases.values()) + rounds)
        for _ in range(min(10, stops - sum(phases.values()))):
            signum = (signal.SIGTERM, signal.SIGINT)[sum(phases.values()) % 2]
            waited = [0.0]

            def stopped(process: Process, signum: int = signum, waited: list[float] = waited, run: Run = run) -> bool:
                asked = time.monotonic()
                process.signal(signum)
                code = process.wait()
                waited[0] = time.monotonic() - asked
                # -signum is Python's own end, before it has come to our code and after it has left it
                untouched = not process.said() or (run.out / "result.json").exists()
                assert code in (128 + signum, 0) or (code == -signum and untouched), process.said()
                return code != 0

            if not interrupted(run, moments, stopped, phases):
                break
            assert run.saved() == run.steps()
            longest = max(longest, waited[0])
        run.finish()
        assert run.result() == wanted
        steps = [int(step) for _, step, _ in run.noted("step")]
        assert steps == sorted(set(steps)) == sorted(losses) and run.losses() == losses
        rounds += 1
    print(f"{sum(phases.values())} stops, the longest of {longest:.1f} s, in {rounds} trainings: {dict(phases)}")


@counts("times", small=[], full=[10])
def test_killed_twice_while_it_restores_and_cleans_up(trainings: Trainings, times: int) -> None:
    """After a kill that has left a checkpoint half written, the next two processes get no further than restoring."""
    wanted = trainings.whole("one device", SHORT).result
    for n in range(times):
        draw, run, phases = random.Random(n), trainings.new("one device", SHORT), Counter[str]()

        def writing(process: Process, run: Run = run) -> None:
            wait_until(process, lambda: run.steps() > 40 and any(run.out.glob("checkpoints/*.tmp.*/built/ckpt*")))

        def restoring(process: Process, run: Run = run, draw: random.Random = draw) -> None:
            before = len(run.noted("restore"))
            wait_until(process, lambda: len(run.noted("restore")) > before)
            process.wait(draw.uniform(0, 0.03))

        assert interrupted(run, writing, killed, phases)
        saved = run.saved()
        for _ in range(2):
            assert interrupted(run, restoring, killed, phases) and run.saved() == saved
        run.finish()
        assert run.result() == wanted and not list(run.out.rglob("*.tmp.*"))
