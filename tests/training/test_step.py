"""One optimizer step: its outputs, replicas, micro-batches, and what happens when it is not finite."""

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
from rankcli.config.registry import OPTIMIZERS
from rankcli.encoders.dropout import Dropout
from rankcli.errors import TrainingError
from rankcli.optimizers.base import Member
from rankcli.records.reader import training_batches
from rankcli.rerankers.base import RerankerContext
from rankcli.runs.prepare import prepare
from rankcli.training.base import TRAIN
from rankcli.training.gradients import Objective, stacked
from rankcli.training.step import TrainingStep
from rankcli.training.strategy import make_strategy, per_replica
from tests.rerankers.tiny_models import ON_TEXTS
from tests.training.linear import Linear, batch, bits, inputs, optimizers, squares, step_of

ROOT = Path(__file__).parents[2]
X = [[[1.0, 2.0]], [[3.0, -1.0]], [[0.5, 0.5]], [[-2.0, 1.0]]]
LABELS = [[1.0], [0.0], [2.0], [-1.0]]


def run(step: TrainingStep, made: Any, rates: Any = (0.1, 0.2), active: Any = (True, True), number: int = 0) -> Any:
    made = tf.nest.map_structure(tf.convert_to_tensor, made)
    return step(made, inputs(step, 4, rates, active, number))


def test_a_step_by_hand() -> None:
    """Scores -2.5, 5.5, 0, -3.5; errors -3.5, 5.5, -2, -2.5: gradients of the mean over four groups."""
    model = Linear()
    parts = optimizers(model)
    done = run(step_of(make_strategy("cpu"), model, parts), batch(X, LABELS))
    errors = np.array([-3.5, 5.5, -2.0, -2.5])
    w, b = errors @ np.array(X)[:, 0] / 4, errors.mean()
    assert float(done["loss"]) == pytest.approx((errors**2).sum() / 8) and bool(done["finite"])
    assert set(done) == {"loss", "losses", "finite", "grad_norm"}
    np.testing.assert_allclose(done["grad_norm"], [np.hypot(*w), abs(b)], rtol=1e-6)
    np.testing.assert_allclose(model.variables["encoder/w"], np.array([1, -2]) - 0.1 * w, rtol=1e-6)
    np.testing.assert_allclose(model.variables["head/b"], [0.5 - 0.2 * b], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30], ids=["nan", "inf", "too large to square"])
def test_a_step_that_is_not_finite_changes_no_bit_of_any_group(bad: float) -> None:
    model = Linear()
    parts = optimizers(model, "adamw")
    step = step_of(make_strategy("cpu"), model, parts)
    run(step, batch(X, LABELS))
    before = bits(model, parts)
    done = run(step, batch([[[bad, 0.0]], *X[1:]], LABELS))
    assert not bool(done["finite"]) and bits(model, parts) == before
    assert bool(run(step, batch(X, LABELS))["finite"]) and bits(model, parts) != before


def test_a_group_that_is_not_active_keeps_every_bit_and_nothing_is_traced_again() -> None:
    model = Linear()
    parts = optimizers(model, "adam")
    step = step_of(make_strategy("cpu"), model, parts)
    start = [variable.numpy().tobytes() for variable in model.variables.values()]
    run(step, batch(X, LABELS), active=(False, True))
    w, b = (variable.numpy().tobytes() for variable in model.variables.values())
    assert w == start[0] and b != start[1]
    assert [int(part.state.updates) for part in parts] == [0, 1]
    run(step, batch(X, LABELS), rates=(0.3, 0.4), number=1)
    assert model.variables["encoder/w"].numpy().tobytes() != w
    assert [int(part.state.updates) for part in parts] == [1, 2]
    assert step.one.count == 1


def test_a_variable_without_influence_is_refused_by_name() -> None:
    model = Linear()
    model.variables["head/unused"] = tf.Variable([0.0])
    with pytest.raises(TrainingError, match="head/unused"):
        run(step_of(make_strategy("cpu"), model, optimizers(model)), batch(X, LABELS))


@pytest.mark.parametrize("count", [2, 4])
def test_micro_batches_by_hand(count: int) -> None:
    """The step above in parts: the same loss, norms and weights."""
    model, parted = Linear(), Linear()
    whole = run(step_of(make_strategy("cpu"), model, optimizers(model)), batch(X, LABELS))
    step = step_of(make_strategy("cpu"), parted, optimizers(parted), accumulate=count)
    size = 4 // count
    micro = [batch(X[n : n + size], LABELS[n : n + size]) for n in range(0, 4, size)]
    (made,) = stacked(micro, count)
    done = run(step, made)
    for name in whole:
        np.testing.assert_allclose(done[name], whole[name], rtol=1e-6)
    for path, variable in model.variables.items():
        np.testing.assert_allclose(parted.variables[path], variable, rtol=1e-6)


def test_dropout_goes_by_seed_step_and_micro_batch() -> None:
    """The loss of equal micro-batches is the mean over what the keys (1, 5, replica 0, n) make of each."""
    model = Linear(rate=0.5)
    step = step_of(make_strategy("cpu"), model, optimizers(model), accumulate=2)
    part = tf.nest.map_structure(tf.convert_to_tensor, batch(X, LABELS))[TRAIN]
    keys = [Dropout.of(1, 5, 0, n) for n in range(2)]
    each = [float(tf.reduce_sum(squares(part, model(part, key)))) / 4 for key in keys]
    done = run(step, stacked([batch(X, LABELS)] * 2, 2)[0], number=5, rates=(0.0, 0.0))
    assert each[0] != each[1] and float(done["loss"]) == pytest.approx(sum(each), rel=1e-6)
    later = run(step, stacked([batch(X, LABELS)] * 2, 2)[0], number=6, rates=(0.0, 0.0))
    assert float(later["loss"]) != float(done["loss"])


@pytest.mark.parametrize("name", ON_TEXTS)
def test_gradients_of_micro_batches_are_those_of_the_whole_batch(tiny, name: str) -> None:
    """Without dropout, for every reranker; plain descent at rate 1 shows the gradient itself."""
    size = "reranker.encoder={layers: 1, hidden: 16, heads: 2, intermediate: 32, dropout: 0.0}"
    classifiers = ("crossencoder", "TFBERTMaxP", "rankt5", "parade", "duobert", "setencoder")
    rates = dict.fromkeys(classifiers, ["reranker.dropout=0.0", size])
    rates["PACRR"] = ["reranker.shuffle=false"]  # at random, as dropout is
    prepared = prepare(tiny(name, *rates.get(name, [size] if name in ("biencoder", "colbert", "TFCEDRKNRM") else [])))
    records, strategy = prepared.sets.records("train"), make_strategy("cpu")
    found = []
    for count in (1, 2):
        model = prepared.start.reranker.build(RerankerContext(prepared.start.extractor))
        for path, variable in model.variables.items():
            if path.endswith(("kernel", "embeddings")) and name != "TFKNRM":
                variable.assign(10 * variable)  # at first these are so small that gradients hardly reach the encoder
        start = {path: variable.numpy() for path, variable in model.variables.items()}
        members = {path: Member(variable) for path, variable in model.variables.items() if variable.trainable}
        part = OPTIMIZERS.get("sgd")().build(members)
        objective = Objective({TRAIN: ("loss", prepared.trainer.loss.build())})
        step = TrainingStep(strategy, model, objective, {"all": part}, 1, accumulate=count)
        read = training_batches(records, prepared.start.extractor, batch=4, replicas=count, steps=1)
        made = per_replica(strategy, stacked([{TRAIN: part} for part in next(read)], count))
        done = step(made, inputs(step, 4, [1.0], [True]))
        moved = {path: start[path] - variable.numpy() for path, variable in model.variables.items()}
        found.append((float(done["loss"]), moved))
    (loss, whole), (micro_loss, micro) = found
    largest = max(np.abs(gradient).max() for gradient in whole.values())
    assert largest > 1e-3 and micro_loss == pytest.approx(loss, rel=1e-5)
    for path, gradient in whole.items():
        np.testing.assert_allclose(micro[path], gradient, atol=2e-4 * largest, err_msg=path)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_with_its_update_compiles_with_xla(accumulate: int) -> None:
    """XLA on the CPU stands in for a TPU's compiler."""
    found = []
    for compiled in (False, True):
        model = Linear()
        step = step_of(make_strategy("cpu"), model, optimizers(model, "adamw"), accumulate=accumulate)
        step.one = tf.function(step._on_all, jit_compile=compiled)
        made = stacked([batch(X, LABELS)] * accumulate, accumulate)[0]
        run(step, made)
        done = run(step, batch([[[np.nan, 0.0]], *X[1:]], LABELS) if accumulate == 1 else made)
        found.append([bool(done["finite"]), *(variable.numpy() for variable in model.variables.values())])
    assert found[0][0] == found[1][0] == (accumulate > 1)
    for plain, xla in zip(found[0][1:], found[1][1:], strict=True):
        np.testing.assert_allclose(plain, xla, rtol=1e-6)


REPLICAS = """
import json, sys
import numpy as np
from rankcli.backend import tf
device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
from rankcli.encoders.dropout import Dropout
from rankcli.training.gradients import stacked
from rankcli.training.loss_scale import LossScale
from rankcli.training.base import TRAIN
from rankcli.training.strategy import make_strategy, per_replica
from tests.training.linear import Linear, batch, bits, inputs, optimizers, squares, step_of
x, labels = np.random.default_rng(1).normal(size=(8, 1, 2)), np.zeros((8, 1))
variants = {"adam": {}, "adamw": {}, "sgd": {}, "nesterov": {"momentum": 0.9, "nesterov": True}}
SETTINGS = ((1, 1, "float32"), (2, 1, "float32"), (2, 2, "float32"), (2, 2, "float16"))
found = {}
for name, options in variants.items():
    for replicas, accumulate, dtype in SETTINGS[: None if name == "adamw" else 2]:
        strategy = make_strategy("mirrored" if replicas == 2 else "cpu")
        with strategy.scope():
            model = Linear(dtype)
            parts = optimizers(model, "sgd" if name == "nesterov" else name, **options)
            scale = LossScale() if dtype == "float16" else None
        step = step_of(strategy, model, parts, accumulate=accumulate, scale=scale)
        def run(x, number):
            size = 8 // (replicas * accumulate)
            batches = [batch(x[n : n + size], labels[n : n + size]) for n in range(0, 8, size)]
            made = per_replica(strategy, stacked(batches, accumulate))
            return step(made, inputs(step, 8, [0.01 * (number + 1), 0.02], number=number))
        losses = [float(run(x, number)["loss"]) for number in range(10)]
        before, bad = bits(model, parts), x.copy()
        bad[7] = np.inf  # only the last replica sees it
        skipped = run(bad, 10)
        same = bits(model, parts) == before
        states = [part.state.updates for part in parts] + list(model.variables.values())
        locally = [[value.numpy().tolist() for value in strategy.experimental_local_results(v)] for v in states]
        found[f"{name} {replicas} {accumulate} {dtype}"] = {
            "losses": losses, "finite": bool(skipped["finite"]), "same": same, "values": [v[0] for v in locally],
            "equal": all(v[0] == other for v in locally for other in v), "copies": len(locally[0]),
            "scale": float(scale.state.scale.numpy()) if scale else None,
        }
strategy = make_strategy("mirrored")
with strategy.scope():
    model = Linear(rate=0.5)
    parts = optimizers(model)
same = batch(x[:2], labels[:2])
keys = [Dropout.of(1, 5, replica, n) for replica in range(2) for n in range(2)]
each = [float(tf.reduce_sum(squares(same[TRAIN], model(same[TRAIN], key)))) / 8 for key in keys]
step = step_of(strategy, model, parts, accumulate=2)
made = per_replica(strategy, stacked([same] * 4, 2))
done = step(made, inputs(step, 8, [0.0, 0.0], number=5))
print(json.dumps({"training": found, "dropout": {"each": each, "loss": float(done["loss"])}}))
"""


def test_two_replicas_and_micro_batches_train_as_one_and_skip_together() -> None:
    """Every optimizer for ten steps; then infinities that reach one of two replicas leave every bit of both alone.

    With dropout, each replica and micro-batch has a key of its own.
    """
    done = subprocess.run(
        [sys.executable, "-c", REPLICAS], check=True, cwd=ROOT, env={**os.environ}, timeout=300, capture_output=True
    )
    printed = json.loads(done.stdout.splitlines()[-1])
    found, dropout = printed["training"], printed["dropout"]
    assert len(set(dropout["each"])) > 2 and dropout["loss"] == pytest.approx(sum(dropout["each"]), rel=1e-6)
    for name in ("adam", "adamw", "sgd", "nesterov"):
        one = found.pop(f"{name} 1 1 float32")
        assert one["losses"][9] < one["losses"][0] and one["copies"] == 1
        for setting in [key for key in found if key.startswith(f"{name} ")]:
            other = found.pop(setting)
            rtol = 1e-5 if "32" in setting else 5e-3
            np.testing.assert_allclose(other["losses"], one["losses"], rtol=rtol)
            for mine, its in zip(other["values"], one["values"], strict=True):
                np.testing.assert_allclose(mine, its, rtol=rtol, atol=rtol)
            assert not other["finite"] and other["same"] and other["equal"] and other["copies"] == 2
            assert other["scale"] == (2.0**14 if "16" in setting else None)
    assert not found
