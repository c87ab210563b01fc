"""Steps that the devices make at once are those that they make one by one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankcli.errors import Interrupted
from rankcli.training.checkpoint import Checkpoints
from rankcli.training.executions import Executions
from rankcli.training.gradients import by_replica
from rankcli.training.step import TrainingStep
from rankcli.verbs.train import train
from tests.training.test_devices import TRAINING
from tests.training.test_loop import lines, tensors

DRY = ("reranker.dropout=0.0",)  # attention's draws depend on the shapes of batches
FP16 = ("trainer.amp=fp16",)  # with a loss scale
HOOKS = "trainer.hooks=[{name: gradnorm}, {name: clipnorm, norm: 0.5}]"


@given(st.integers(1, 9), st.integers(1, 12), st.integers(1, 6), st.data())
def test_cuts_lie_at_the_ends_of_iterations_and_where_they_lay_for_the_whole(
    most: int, per_iter: int, iterations: int, data: st.DataObject
) -> None:
    steps = per_iter * iterations
    counts = list(Executions(0, steps, per_iter, most))
    cuts = [0, *np.cumsum(counts)]
    assert cuts[-1] == steps and max(counts) <= most and set(range(0, steps + 1, per_iter)) <= set(cuts)
    assert len(counts) == iterations * -(-per_iter // most)
    at = data.draw(st.sampled_from(cuts))
    assert [at, *(at + np.cumsum(list(Executions(at, steps, per_iter, most))))] == cuts[cuts.index(at) :]


@pytest.mark.parametrize("options", [(), ("trainer.accumulate=2", "trainer.amp=bf16"), (HOOKS,), FP16], ids=str)
@pytest.mark.parametrize("at_once", [2, 3, 9])
def test_several_at_once_are_several_one_by_one(
    tiny: Any, tmp_path: Path, options: tuple[str, ...], at_once: int, on_step: Any
) -> None:
    losses: list[float] = []
    on_step(lambda now, done: losses.append(float(done["loss"])))
    train(tiny("crossencoder", *DRY, *options), out=tmp_path / "one")
    train(tiny("crossencoder", *DRY, *options, f"trainer.steps_per_execution={at_once}"), out=tmp_path / "several")
    limit = 0.05 if "amp" in "".join(options) else 1e-4
    assert len(losses) == 24 and losses[12:] == pytest.approx(losses[:12], rel=limit)
    one, several = (list(numbers(lines(tmp_path / name))) for name in ("one", "several"))
    assert [key for key, _ in one] == [key for key, _ in several] and len(one) > 30
    for (key, value), (_, other) in zip(one, several, strict=True):
        if not key.endswith("padding_share"):
            assert other == pytest.approx(value, rel=limit, abs=limit), key
    assert tensors(tmp_path / "one").keys() == tensors(tmp_path / "several").keys()


def numbers(found: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """All numbers in nested objects, with their keys."""
    if isinstance(found, (list, dict)):
        for name, value in enumerate(found) if isinstance(found, list) else found.items():
            yield from numbers(value, f"{key}/{name}")
    elif isinstance(found, (int, float)):
        yield key, found


def test_a_run_stopped_between_two_executions_goes_on_to_the_same_bits(
    tiny: Any, tmp_path: Path, stop_after: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("trainer.steps_per_execution=2", "trainer.checkpointsteps=2")
    saved: list[int] = []
    made: list[list[int]] = []
    save, several = Checkpoints.save, TrainingStep.several

    def noted(self: TrainingStep, batches: Any, inputs: Any) -> Any:
        made.append(inputs.number.numpy().tolist())
        return several(self, batches, inputs)

    monkeypatch.setattr(Checkpoints, "save", lambda self, state, n: (saved.append(state.step), save(self, state, n)))
    monkeypatch.setattr(TrainingStep, "several", noted)
    train(tiny("crossencoder", *options), out=tmp_path / "whole")
    assert made == [[0, 1], [2], [3, 4], [5], [6, 7], [8], [9, 10], [11]]
    assert saved == [2, 3, 5, 6, 8, 9, 11, 12]  # at the first cut from each second step on, and where iterations end
    whole = tensors(tmp_path / "whole"), lines(tmp_path / "whole")
    stop_after(5)
    with pytest.raises(Interrupted):
        train(tiny("crossencoder", *options), out=tmp_path / "parts")
    train(tiny("crossencoder", *options), out=tmp_path / "parts")
    assert (tensors(tmp_path / "parts"), lines(tmp_path / "parts")) == whole


def test_replicas_have_their_own_batches_step_after_step() -> None:
    parts: list[Any] = [{"train": np.array([10 * step + replica])} for step in range(3) for replica in range(2)]
    assert [found["train"].tolist() for found in by_replica(parts, 2)] == [[[0], [10], [20]], [[1], [11], [21]]]


NOTING = """
from rankcli.listeners.watch import Watch
def noted(self, now, done):
    with open(sys.argv[2] + ".losses", "a") as file:
        print(float(done["loss"]), file=file)
Watch.end_step = noted
overrides += ["trainer.steps_per_execution=2"]
"""


def test_two_replicas_make_several_at_once(tiny: Any, tmp_path: Path) -> None:
    tiny()
    program = TRAINING.replace("train(load", f"{NOTING}train(load")
    for cpus in (1, 2):
        files = [str(tmp_path / "crossencoder.yaml"), str(tmp_path / str(cpus))]
        command = [sys.executable, "-c", program, *files, str(cpus)]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[2], env={**os.environ}, timeout=300)
    one, two = (list(map(float, (tmp_path / f"{cpus}.losses").read_text().split())) for cpus in (1, 2))
    np.testing.assert_allclose(two, one, rtol=1e-5)
    assert len(set(one)) == 4
