"""Hooks in the training step: closed forms over a linear reranker, and what a run with them logs."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.registry import HOOKS
from rankcli.config.validate import component_from
from rankcli.errors import ConfigError
from rankcli.hooks.base import HookContext
from rankcli.listeners.base import Moment
from rankcli.runs.prepare import prepare
from rankcli.training.gradients import stacked
from rankcli.training.loss_scale import LossScale
from rankcli.training.step import TrainingStep
from rankcli.training.strategy import make_strategy
from rankcli.verbs.train import train
from tests.training.linear import Linear, batch, hooked, inputs, measures, optimizers

ROOT = Path(__file__).parents[2]
# Scores -2.5, 5.5, 0, -3.5 with weights [1, -2] and bias 0.5; errors as in the test of the step itself.
X = [[[1.0, 2.0]], [[3.0, -1.0]], [[0.5, 0.5]], [[-2.0, 1.0]]]
LABELS = [[1.0], [0.0], [2.0], [-1.0]]
ERRORS = np.array([-3.5, 5.5, -2.0, -2.5])
W, B = ERRORS @ np.array(X)[:, 0] / 4, ERRORS.mean()
NORM = math.sqrt(W @ W + B * B)
LOSS = (ERRORS**2).sum() / 8


def run(model: Linear, *hooks: Any, accumulate: int = 1, active: Any = (True, True), scale: Any = None) -> Any:
    """A step at rate 1 for both groups: weights move by what the gradient is."""
    step = hooked(make_strategy("cpu"), model, optimizers(model), hooks, accumulate=accumulate, scale=scale)
    size = 4 // accumulate
    parts = [batch(X[n : n + size], LABELS[n : n + size]) for n in range(0, 4, size)]
    made = tf.nest.map_structure(tf.convert_to_tensor, stacked(parts, accumulate)[0])
    return step, step(made, inputs(step, 4, [1.0, 1.0], active))


def moved(model: Linear) -> np.ndarray:
    """The distance that weights and bias went, against the gradient."""
    return np.concatenate([[1.0, -2.0] - model.variables["encoder/w"].numpy(), 0.5 - model.variables["head/b"].numpy()])


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_clipnorm_scales_all_groups_by_their_common_norm(accumulate: int) -> None:
    model = Linear()
    step, done = run(model, {"name": "clipnorm", "norm": 0.5}, accumulate=accumulate)
    np.testing.assert_allclose(moved(model), np.array([*W, B]) * 0.5 / NORM, rtol=1e-5)
    np.testing.assert_allclose(done["grad_norm"], [math.hypot(*W), abs(B)], rtol=1e-6)
    assert measures(step, done) == {"clipnorm/clipped": 1.0}


def test_a_gradient_below_the_norm_is_left_as_it_is_to_the_bit() -> None:
    plain, clipped = Linear(), Linear()
    run(plain)
    step, done = run(clipped, {"name": "clipnorm", "norm": 100.0})
    assert moved(plain).tobytes() == moved(clipped).tobytes()
    assert measures(step, done) == {"clipnorm/clipped": 0.0}


def test_clipnorm_of_a_part_leaves_the_rest() -> None:
    model = Linear()
    run(model, {"name": "clipnorm", "norm": 0.5, "part": "^encoder/"})
    np.testing.assert_allclose(moved(model), [*(W * 0.5 / math.hypot(*W)), B], rtol=1e-5)


def test_a_group_that_is_not_trained_yet_counts_in_no_norm() -> None:
    model = Linear()
    step, done = run(model, {"name": "gradnorm"}, {"name": "clipnorm", "norm": 0.5}, active=(True, False))
    np.testing.assert_allclose(moved(model), [*(W * 0.5 / math.hypot(*W)), 0], rtol=1e-5)
    norms = measures(step, done)
    assert norms["gradnorm/head/b"] == 0.0
    assert norms["gradnorm/encoder/w"] == norms["gradnorm/all"] == pytest.approx(math.hypot(*W))


def test_hooks_go_in_the_order_of_the_config() -> None:
    """The norms before and after clipping; in float16 as well, unscaled."""
    half = LossScale()
    half.state.scale.assign(256.0)
    for scale in (None, half):
        model = Linear("float16" if scale else "float32")
        norms, clip = {"name": "gradnorm"}, {"name": "clipnorm", "norm": 0.5}
        step, done = run(model, norms, clip, norms, {"name": "clipnorm", "norm": 0.25}, scale=scale)
        names, found = ("encoder/w", "head/b", "all"), np.array([math.hypot(*W), abs(B), NORM])
        told = measures(step, done)
        before, after = ([f"gradnorm/{name}{which}" for name in names] for which in ("", " (2)"))
        assert list(told) == [*before, "clipnorm/clipped", *after, "clipnorm/clipped (2)"]
        wanted = [*found, 1.0, *(found * 0.5 / NORM), 1.0]
        np.testing.assert_allclose(list(told.values()), wanted, rtol=2e-3 if scale else 1e-5)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_penalties_are_added_once_to_the_loss_and_to_the_gradient_of_their_part(accumulate: int) -> None:
    """l2: .1 (1 + 4 + .25), gradient .2 w; l1 of the bias: 2 x .5, gradient 2 sign(b)."""
    model = Linear()
    hooks = {"name": "l2", "weight": 0.1}, {"name": "l1", "weight": 2.0, "part": "^head/"}
    step, done = run(model, *hooks, accumulate=accumulate)
    assert step.losses_of(done)["losses"] == pytest.approx({"squares": LOSS, "l2": 5.25, "l1": 0.5})
    assert float(done["loss"]) == pytest.approx(LOSS + 0.1 * 5.25 + 2 * 0.5)
    np.testing.assert_allclose(moved(model), [W[0] + 0.2, W[1] - 0.4, B + 0.1 + 2], rtol=1e-5)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_further_loss_is_added_with_its_weight(accumulate: int) -> None:
    """The cross-entropy of label > 0 has the gradient sigmoid(s) - target with respect to a score."""
    model = Linear()
    hook = {"name": "loss", "loss": "crossentropy", "weight": 0.5}
    step, done = run(model, hook, hook, accumulate=accumulate)
    scores, targets = ERRORS + np.array(LABELS)[:, 0], np.array([1.0, 0.0, 1.0, 0.0])
    other = np.mean(np.logaddexp(0, scores) - targets * scores)
    wanted = {"squares": LOSS, "crossentropy": other, "crossentropy (2)": other}
    assert step.losses_of(done)["losses"] == pytest.approx(wanted, rel=1e-5)
    assert float(done["loss"]) == pytest.approx(LOSS + other, rel=1e-5)
    errors = ERRORS + 1 / (1 + np.exp(-scores)) - targets
    np.testing.assert_allclose(moved(model), [*(errors @ np.array(X)[:, 0] / 4), errors.mean()], rtol=1e-5)


def test_a_penalty_that_is_not_finite_changes_no_weight() -> None:
    model = Linear()
    model.variables["encoder/w"].assign([3e19, 0.0])  # squares beyond float32
    before = model.variables["head/b"].numpy().tobytes()
    _, done = run(model, {"name": "l2", "weight": 0.1})
    assert not bool(done["finite"]) and model.variables["head/b"].numpy().tobytes() == before


REPLICAS = """
import json
import numpy as np
from rankcli.backend import tf
device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
from rankcli.training.gradients import stacked
from rankcli.training.strategy import make_strategy, per_replica
from rankcli.training.gradients import Objective
from rankcli.training.step import TrainingStep
from tests.training.linear import Linear, batch, hooked, inputs, measures, optimizers, squares
two = Objective({task: ("loss", squares) for task in "ab"})
x, labels = np.random.default_rng(1).normal(size=(8, 1, 2)), np.zeros((8, 1))
hooks = [{"name": "l2", "weight": 0.1}, {"name": "loss", "loss": "crossentropy"}, {"name": "gradnorm"},
         {"name": "clipnorm", "norm": 0.3}]
found = []
for replicas, accumulate in ((1, 1), (2, 1), (2, 2)):
    strategy = make_strategy("mirrored" if replicas == 2 else "cpu")
    with strategy.scope():
        model = Linear()
        parts = optimizers(model, "adamw")
    step = hooked(strategy, model, parts, hooks, accumulate=accumulate)
    size, told = 8 // (replicas * accumulate), []
    for number in range(5):
        batches = [batch(x[n : n + size], labels[n : n + size]) for n in range(0, 8, size)]
        made = per_replica(strategy, stacked(batches, accumulate))
        done = step(made, inputs(step, 8, [0.01, 0.02], number=number))
        told.append({"loss": float(done["loss"])})
        for kind, values in (*step.losses_of(done).items(), ("measures", measures(step, done))):
            told[-1].update({f"{kind} {name}": value for name, value in values.items()})
    local = [strategy.experimental_local_results(variable) for variable in model.variables.values()]
    local = [[value.numpy().tolist() for value in values] for values in local]
    equal = all(values[0] == other for values in local for other in values)
    found.append({"told": told, "values": [values[0] for values in local], "equal": equal})
    with strategy.scope():
        model = Linear()
        named = dict(zip(model.variables, optimizers(model), strict=True))
    step = TrainingStep(strategy, model, two, named, 1, accumulate=accumulate)
    tasks = [{"a": part["train"], "b": batch(part["train"].columns["x"], 1 + part["train"].labels)["train"]}
             for part in batches]
    made = per_replica(strategy, stacked(tasks, accumulate))
    done = step(made, inputs(step, {"a": 8, "b": 8}, [0.1, 0.1], b=0.5))
    found[-1]["told"].append({"loss": float(done["loss"]), **step.losses_of(done)["losses"]})
    found[-1]["values"] += [variable.numpy().tolist() for variable in model.variables.values()]
print(json.dumps(found))
"""


def test_hooks_and_tasks_do_on_two_replicas_and_in_micro_batches_what_they_do_on_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REPLICAS], check=True, cwd=ROOT, env={**os.environ}, timeout=300, capture_output=True
    )
    one, *others = json.loads(done.stdout.splitlines()[-1])
    assert one["told"][0]["measures clipnorm/clipped"] == 1.0 and len(one["told"][0]) == 8
    assert set(one["told"][5]) == {"loss", "a/loss", "b/loss"} and len(one["values"]) == 4
    for other in others:
        assert other["equal"]
        for mine, its in zip(other["told"], one["told"], strict=True):
            assert mine == pytest.approx(its, rel=1e-5)
        for mine, its in zip(other["values"], one["values"], strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-5)


def test_a_hook_compiles_with_xla() -> None:
    hooks = {"name": "l2", "weight": 0.1}, {"name": "gradnorm"}, {"name": "clipnorm", "norm": 0.5}
    found = []
    for compiled in (False, True):
        model = Linear()
        step = hooked(make_strategy("cpu"), model, optimizers(model), hooks)
        step.one = tf.function(step._on_all, jit_compile=compiled)
        made = tf.nest.map_structure(tf.convert_to_tensor, batch(X, LABELS))
        done = step(made, inputs(step, 4, [1.0, 1.0], (True, False)))
        found.append([*moved(model), *measures(step, done).values()])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


def test_a_part_that_matches_nothing_trained_is_refused_with_the_paths() -> None:
    hook = component_from(HOOKS, {"name": "l2", "weight": 1.0, "part": "^decoder/"})
    with pytest.raises(ConfigError, match=r"decoder.*\n?.*head/b") as refused:
        hook.build(HookContext({"head/b": None}, {"lr": ("head/b",)}))
    assert refused.value.exit_code == 2
    with pytest.raises(ConfigError, match="not a regular expression"):
        component_from(HOOKS, {"name": "l1", "weight": 1.0, "part": "("})


def lines(out: Path) -> list[dict[str, Any]]:
    """The entries of the iterations."""
    found = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [entry for entry in found if "loss" in entry]


def test_a_run_logs_every_term_and_every_measure_as_means_of_its_iterations(
    tiny, tmp_path: Path, monkeypatch, on_step
) -> None:
    hooks = "trainer.hooks=[{name: loss, loss: pairwise_hinge, weight: 0.1}, {name: l2, weight: 0.001}, gradnorm]"
    seen: list[dict[str, Any]] = []
    steps_made: list[TrainingStep] = []
    call = TrainingStep.__call__
    monkeypatch.setattr(TrainingStep, "__call__", lambda self, *args: (steps_made.append(self), call(self, *args))[1])

    def noted(now: Moment, done: Any) -> None:
        step = steps_made[-1]
        seen.append({"loss": float(done["loss"]), **step.losses_of(done), "measures": measures(step, done)})

    on_step(noted)
    train(tiny("crossencoder", hooks, "trainer.niters=2"), out=tmp_path / "run")
    entries = lines(tmp_path / "run")
    assert len(seen) == 6 and len(entries) == 2
    for number, entry in enumerate(entries):
        steps = seen[3 * number : 3 * number + 3]
        assert list(entry["losses"]) == ["lce", "pairwise_hinge", "l2"]
        assert list(entry["measures"]) == ["gradnorm/bertlr", "gradnorm/lr", "gradnorm/all"]
        for kind in ("losses", "measures"):
            for name, value in entry[kind].items():
                assert value == pytest.approx(sum(step[kind][name] for step in steps) / 3, rel=1e-9)
        lce, hinge, l2 = entry["losses"].values()
        assert entry["loss"] == pytest.approx(lce + 0.1 * hinge + 0.001 * l2, rel=1e-5)
    trainer = prepare(tiny("crossencoder", hooks)).identity.content["trainer"]
    assert trainer["hooks"] == [
        {"name": "loss", "version": 1, "loss": {"name": "pairwise_hinge", "version": 1}, "weight": 0.1},
        {"name": "l2", "version": 1, "weight": 0.001},
        {"name": "gradnorm", "version": 1},
    ]
    assert "hooks" not in prepare(tiny("crossencoder")).identity.content["trainer"]
