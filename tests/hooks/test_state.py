"""Hooks that keep a state and measure, and losses across the batch: by hand, on two replicas, killed and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.errors import ConfigError, TrainingError
from rankcli.hooks.base import Hook
from rankcli.listeners.heldout import HeldOut
from rankcli.training.base import State
from rankcli.training.gradients import Objective, stacked
from rankcli.training.step import TrainingStep
from rankcli.training.strategy import make_strategy
from tests.hooks.toys import Across, RunningMean, register
from tests.listeners.fakes import context
from tests.training.linear import Linear, batch, inputs, optimizers, with_hooks

ROOT = Path(__file__).parents[2]
X = [[[1.0, 2.0]], [[3.0, -1.0]], [[0.5, 0.5]], [[-2.0, 1.0]]]
LABELS = [[1.0], [0.0], [2.0], [-1.0]]
SCORES = np.array([-2.5, 5.5, 0.0, -3.5])


def run(hook: Hook, x: Any = X, accumulate: int = 1, times: int = 1, rate: float = 0.0) -> tuple[TrainingStep, Any]:
    """Steps on four groups; with a rate of 0 the scores stay."""
    model = Linear()
    step = with_hooks(make_strategy("cpu"), model, optimizers(model), [hook], accumulate=accumulate)
    size = 4 // accumulate
    parts = [batch(x[n : n + size], LABELS[n : n + size]) for n in range(0, 4, size)]
    made = tf.nest.map_structure(tf.convert_to_tensor, stacked(parts, accumulate)[0])
    for number in range(times):
        done = step(made, inputs(step, 4, [rate, rate], number=number))
    return step, done


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_a_state_changes_once_a_step_and_enters_the_next_loss(accumulate: int) -> None:
    hook = RunningMean()
    step, done = run(hook, accumulate=accumulate, times=2)
    first = 0.25 * SCORES.mean()
    assert float(hook.state.mean) == pytest.approx(0.75 * first + 0.25 * SCORES.mean())
    assert int(hook.state.steps[0]) == 2
    pull = np.mean((SCORES - first) ** 2)
    assert step.losses_of(done)["losses"]["pull"] == pytest.approx(pull, rel=1e-6)
    assert float(done["loss"]) == pytest.approx(step.losses_of(done)["losses"]["squares"] + 0.5 * pull, rel=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_that_is_not_finite_leaves_the_state(accumulate: int) -> None:
    hook = RunningMean()
    _, done = run(hook, [[[np.inf, 2.0]], *X[1:]], accumulate)
    assert not done["finite"] and float(hook.state.mean) == 0.0 and int(hook.state.steps[0]) == 0


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_sums_and_counts_are_added_up_over_micro_batches(accumulate: int) -> None:
    """Relevant are -2.5 and 0: of two micro-batches one each, of four none in two."""
    step, done = run(RunningMean(), accumulate=accumulate)
    assert step.measures_of(done) == {"pull/relevant": [-2.5, 2.0]}


def test_a_ratio_is_that_of_the_sums_of_an_iteration_not_the_mean_of_its_steps() -> None:
    state = State()
    state.count(1.0, {}, {"a": (3.0, 1.0), "b": (0.0, 0.0)})
    state.count(2.0, {}, {"a": (1.0, 3.0), "b": (0.0, 0.0)})
    assert state.means(2) == {"loss": 1.5, "measures": {"a": 1.0, "b": None}} and state.measured == {}


def test_a_hook_that_measures_what_it_does_not_declare_is_an_error() -> None:
    hook = RunningMean()
    hook.measures = ("other",)  # type: ignore[assignment]
    with pytest.raises(TrainingError, match=r"hook 'pull' logs \['pull/relevant'\], but declares \['other'\]"):
        run(hook)


def test_a_batch_is_not_gathered_from_a_micro_batch() -> None:
    model = Linear()
    named = dict(zip(model.variables, optimizers(model), strict=True))
    step = TrainingStep(
        make_strategy("cpu"), model, Objective({"train": ("across", Across().build())}), named, 1, accumulate=2
    )
    made = tf.nest.map_structure(tf.convert_to_tensor, stacked([batch(X[:2], LABELS[:2])] * 2, 2)[0])
    with pytest.raises(TrainingError, match="a micro-batch is only a part"):
        step(made, inputs(step, 4, [1.0, 1.0]))


@pytest.mark.parametrize(
    ("reranker", "override", "said"),
    [
        ("TFKNRM", "trainer.loss=across", "trainer.loss: 'across' compares the groups of a batch with each other"),
        ("TFKNRM", "trainer.hooks=[{name: loss, loss: across}]", "trainer.hooks.0.loss: 'across' compares"),
        ("TFKNRM", "trainer.hooks=[memory]", "trainer.hooks.0: 'memory' compares"),
        ("TFKNRM", "trainer.loss=needy", "'needy' reads the vectors doc, which reranker 'TFKNRM' does not give"),
        (
            "biencoder",
            "trainer.loss=needy",
            "reads the column 'teacher', but sampler 'LCE' gives first_stage;",
        ),
    ],
)
def test_what_a_loss_or_hook_needs_and_cannot_have_is_refused(
    tiny, tmp_path: Path, monkeypatch, reranker: str, override: str, said: str
) -> None:
    register(monkeypatch)
    with pytest.raises(ConfigError) as refused:
        tiny(reranker, "trainer.accumulate=2", override)
    assert said in str(refused.value) and refused.value.exit_code == 2
    asked = tiny("crossencoder", "trainer.loss=across")
    with pytest.raises(ConfigError, match="needs more than the labels and scores of single groups"):
        HeldOut().build(context(tmp_path, sampler=asked.sampler, loss=asked.trainer.loss))


REPLICAS = """
import json
import numpy as np
from rankcli.backend import tf
device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
from rankcli.training.gradients import by_replica
from rankcli.training.gradients import Objective
from rankcli.training.step import TrainingStep
from rankcli.training.strategy import make_strategy, per_replica
from tests.hooks.toys import Across, RunningMean
from tests.listeners.fakes import context
from tests.training.linear import Linear, batch, inputs, optimizers
draw = np.random.default_rng(1)
x, labels = draw.normal(size=(8, 1, 2)), draw.integers(0, 3, (8, 1)).astype(float)
found = []
for replicas in (1, 2):
    strategy = make_strategy("mirrored" if replicas == 2 else "cpu")
    with strategy.scope():
        model, hook = Linear(), RunningMean()
        named = dict(zip(model.variables, optimizers(model), strict=True))
    objective = Objective({"train": ("across", Across().build())}, [hook])
    step = TrainingStep(strategy, model, objective, named, 1, hooks=[hook])
    size, losses = 8 // replicas, []
    batches = [batch(x[n : n + size], labels[n : n + size]) for n in range(0, 8, size)]
    for number in range(3):
        done = step(per_replica(strategy, batches), inputs(step, 8, [0.001, 0.001], number=number))
        losses.append([float(done["loss"]), *done["losses"].numpy().tolist(), *step.measures_of(done)["pull/relevant"]])
    two = [inputs(step, 8, [0.001, 0.001], number=number) for number in (3, 4)]
    given = tf.nest.map_structure(lambda *each: tf.stack(each), *two)
    for done in step.several(per_replica(strategy, by_replica(batches * 2, replicas)), given):
        losses.append([float(done["loss"]), *done["losses"].numpy().tolist(), *step.measures_of(done)["pull/relevant"]])
    variables = [*model.variables.values(), hook.state.mean, *hook.state.steps]
    local = [strategy.experimental_local_results(variable) for variable in variables]
    local = [[value.numpy().tolist() for value in values] for values in local]
    equal = all(values[0] == other for values in local for other in values)
    found.append({"losses": losses, "values": [values[0] for values in local], "equal": equal})
print(json.dumps(found))
"""


def python(program: str, *args: str) -> Any:
    """The last line that it prints."""
    command = [sys.executable, "-c", program, *args]
    done = subprocess.run(
        command, check=False, cwd=ROOT, env={**os.environ}, timeout=500, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_two_replicas_gather_learn_and_measure_as_one_does() -> None:
    """The loss across the batch goes by the order of groups, and its gradient through both factors."""
    one, two = python(REPLICAS)
    assert two["equal"] and one["values"][-1] == two["values"][-1] == 5
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-5)
    assert len({tuple(losses) for losses in one["losses"]}) == 5
    for mine, its in zip(two["values"], one["values"], strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5)


def test_the_gradient_across_a_batch_is_that_of_the_formula() -> None:
    """L = sum_b s_b sum_j (j + 1) s_j / 4: dL/ds_k = (sum_j (j + 1) s_j + (k + 1) sum_b s_b) / 4."""
    model = Linear()
    named = dict(zip(model.variables, optimizers(model), strict=True))
    step = TrainingStep(make_strategy("cpu"), model, Objective({"train": ("across", Across().build())}), named, 1)
    step(tf.nest.map_structure(tf.convert_to_tensor, batch(X, LABELS)), inputs(step, 4, [1.0, 1.0]))
    place = np.arange(1, 5)
    by_score = (place @ SCORES + place * SCORES.sum()) / 4
    np.testing.assert_allclose(model.variables["head/b"], [0.5 - by_score.sum()], rtol=1e-5)
    np.testing.assert_allclose(model.variables["encoder/w"], [1, -2] - by_score @ np.array(X)[:, 0], rtol=1e-5)


KILLED = """
import json, signal, sys
from pathlib import Path
import numpy as np
import pytest
from rankcli.backend import tf
device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
from rankcli.config.load import load_config
from rankcli.errors import Interrupted
from rankcli.listeners.watch import Watch
from rankcli.verbs.train import train
from tests.clocked import metrics
from tests.hooks.toys import MADE, register
config, folder, *options = sys.argv[1:]
folder = Path(folder)
register(pytest.MonkeyPatch())
options += ["trainer.hooks=[running_mean]", "trainer.batch=4", "trainer.itersize=12", "trainer.niters=2"]
asked = load_config([config], options)[0]
train(asked, out=folder / "whole")
def stop(self, now, done):
    if now.step == 4:
        signal.raise_signal(signal.SIGTERM)
Watch.end_step = stop
with pytest.raises(Interrupted):
    train(asked, out=folder / "parts")
del Watch.end_step
train(asked, out=folder / "parts")
def tensors(name):
    reader = tf.train.load_checkpoint(str(folder / name / "checkpoints/iter-00002/ckpt"))
    keys = [key for key in reader.get_variable_to_shape_map() if key != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    return {key: np.asarray(reader.get_tensor(key)).tobytes().hex() for key in keys}
means = [hook.state.mean for hook in MADE[1::2]]  # every other was built only to check the options
states = [[value.numpy().tolist() for value in getattr(mean, "values", [mean])] for mean in means]
print(json.dumps({name: [tensors(name), metrics((folder / name / "metrics.jsonl").read_bytes())]
                  for name in ("whole", "parts")} | {"means": states}))
"""


@pytest.mark.parametrize(
    "options",
    [["trainer.strategy=cpu"], ["trainer.strategy=mirrored", "trainer.accumulate=2", "trainer.steps_per_execution=2"]],
    ids=["one device", "two devices, micro-batches, two steps at once"],
)
def test_a_state_survives_a_kill_to_the_bit(tiny, tmp_path: Path, options: list[str]) -> None:
    tiny()
    found = python(KILLED, str(tmp_path / "crossencoder.yaml"), str(tmp_path), *options)
    (whole, entries), (parts, again) = found["whole"], found["parts"]
    assert whole == parts and entries == again
    names = {key for key in whole if key.startswith("hooks/")}
    behind = "/.ATTRIBUTES/VARIABLE_VALUE"
    assert names == {f"hooks/pull/mean{behind}", f"hooks/pull/steps/0{behind}"}
    assert np.frombuffer(bytes.fromhex(whole[f"hooks/pull/steps/0{behind}"]), np.int32) == 6
    assert np.frombuffer(bytes.fromhex(whole[f"hooks/pull/mean{behind}"]), np.float32) != 0
    measured = [entry["measures"]["pull/relevant"] for entry in entries if "loss" in entry]
    assert len(set(measured)) == 2
    assert all(len(set(copies)) == 1 for copies in found["means"])
