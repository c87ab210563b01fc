"""Every optimizer against a restatement in NumPy, values of PyTorch and Keras' Adam; updates that are not made."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.registry import OPTIMIZERS
from rankcli.optimizers.base import Member, Optimizer
from tests.optimizers.stepping import bits, updating

STEPS = 20
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "adam": ("adam", {}),
    "adam other options": ("adam", {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3}),
    "adam without means": ("adam", {"beta1": 0.0, "beta2": 0.0}),
    "adamw": ("adamw", {}),
    "adamw other options": ("adamw", {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}),
    "sgd": ("sgd", {}),
    "momentum": ("sgd", {"momentum": 0.9}),
    "nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}),
}


def make(variant: str, members: dict[str, Member]) -> Optimizer:
    name, options = VARIANTS[variant]
    return OPTIMIZERS.get(name)(**options).build(members)  # type: ignore[no-any-return]


def rates() -> list[float]:
    return [0.1 * (s + 1) / 4 if s < 4 else 0.1 * (STEPS - s) / 16 for s in range(STEPS)]


def restated(variant: str, start: np.ndarray, gradients: list[np.ndarray], lrs: list[float], decay: float) -> Any:
    """The formulas of the papers in float64, one array at a time."""
    name, given = VARIANTS[variant]
    o = dataclasses.asdict(OPTIMIZERS.get(name)(**given))
    w, one, two = start.astype(np.float64), 0.0, 0.0
    for t, (g, lr) in enumerate(zip(gradients, lrs, strict=True), 1):
        if name == "adamw":
            w = w * (1 - lr * decay)
        else:
            g = g + decay * w
        if name == "sgd":
            one = o["momentum"] * one + g
            w = w - lr * (g + o["momentum"] * one if o["nesterov"] else one)
            continue
        one = o["beta1"] * one + (1 - o["beta1"]) * g
        two = o["beta2"] * two + (1 - o["beta2"]) * g * g
        unbiased, root = one / (1 - o["beta1"] ** t), np.sqrt(two / (1 - o["beta2"] ** t))
        epsilon = o["epsilon"] if name == "adamw" else o["epsilon"] / np.sqrt(1 - o["beta2"] ** t)
        w = w - lr * unbiased / (root + epsilon)
    return w


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("scale", "decay"), [(1.0, 0.0), (0.5, 0.1)])
def test_20_steps_are_those_of_the_formula(variant: str, scale: float, decay: float) -> None:
    draw = np.random.default_rng(3)
    shapes = {"a/kernel": (5, 3), "b/bias": (4,)}
    start = {path: draw.normal(size=shape).astype(np.float32) for path, shape in shapes.items()}
    optimizer = make(variant, {path: Member(tf.Variable(value), scale, decay) for path, value in start.items()})
    update, seen = updating(optimizer), []
    for rate in rates():
        seen.append([draw.normal(size=shape).astype(np.float32) for shape in shapes.values()])
        update(seen[-1], rate)
    for n, (path, member) in enumerate(optimizer.members.items()):
        wanted = restated(variant, start[path], [g[n] for g in seen], [scale * rate for rate in rates()], decay)
        np.testing.assert_allclose(member.variable.numpy(), wanted, rtol=1e-5, atol=5e-6)
    assert int(optimizer.state.updates) == STEPS


# torch 2.13: w = [0.5, -1.25, 2, 0], g_k = sin(s + k) (k + 1) / 2 at step s, the learning rates of `rates()`.
TORCH = {
    ("adam", 0.0): [0.2652830481529236, -1.449161410331726, 1.984484314918518, 0.19745856523513794],
    ("adam", 0.1): [0.15836775302886963, -1.274491310119629, 1.803532600402832, 0.19059547781944275],
    ("adamw", 0.01): [0.2616967260837555, -1.433796763420105, 1.9628534317016602, 0.19594456255435944],
    ("adamw other options", 0.1): [0.27393385767936707, -1.2488317489624023, 1.7985297441482544, 0.14704585075378418],
    ("sgd", 0.0): [0.4923163056373596, -1.2172149419784546, 2.076192617416382, 0.044209036976099014],
    ("momentum", 0.0): [0.2204156517982483, -1.7204667329788208, 2.076169967651367, 1.0506802797317505],
    ("momentum", 0.1): [0.038532838225364685, -0.9513799548149109, 1.0381394624710083, 0.7731836438179016],
    ("nesterov", 0.0): [0.24069035053253174, -1.6406347751617432, 2.1447460651397705, 0.9898211359977722],
}


@pytest.mark.parametrize(("variant", "decay"), TORCH)
def test_20_steps_end_where_pytorch_ends(variant: str, decay: float) -> None:
    variable = tf.Variable([0.5, -1.25, 2.0, 0.0])
    update = updating(make(variant, {"w": Member(variable, weight_decay=decay)}))
    for s, rate in enumerate(rates()):
        update([[np.sin(s + k) * (k + 1) / 2 for k in range(4)]], rate)
    np.testing.assert_allclose(variable.numpy(), TORCH[variant, decay], rtol=2e-5, atol=2e-6)


def test_adam_is_kerass_to_rounding() -> None:
    draw = np.random.default_rng(4)
    ours, theirs = (tf.Variable(np.linspace(-1, 1, 50, dtype=np.float32)) for _ in range(2))
    keras = tf.keras.optimizers.Adam(1.0, jit_compile=False)
    keras.build([theirs])
    update = updating(make("adam", {"w": Member(ours)}))
    for rate in rates():
        gradient = draw.normal(size=50).astype(np.float32)
        update([gradient], rate)
        keras.learning_rate.assign(rate)
        keras.apply_gradients([(tf.constant(gradient), theirs)])
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-5)


def awkward() -> np.ndarray:
    """Zeros of both signs, values below what kernels calculate with, and common ones."""
    return np.array([0.0, -0.0, 1e-40, -1e-40, 1.5, -2e-30, 3e30, 1e-3], np.float32)


def bad_gradients() -> Iterator[np.ndarray]:
    yield from (np.full(8, fill, np.float32) for fill in (np.nan, np.inf, -np.inf, 1e38, 0.0, -0.0, -1.0))


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_update_that_is_not_applied_changes_no_bit(variant: str) -> None:
    optimizer = make(variant, {"w": Member(tf.Variable(awkward()), weight_decay=0.1)})
    update = updating(optimizer)
    before = bits(optimizer)
    for gradient in bad_gradients():
        update([gradient], 0.1, apply=False)
        assert bits(optimizer) == before
    signed = np.array([0.0, -0.0, -1.0, 1.0, 1e-30, -1e-30, 0.5, -0.5], np.float32)
    for slot in optimizer.state.slots:
        optimizer.state.slots[slot]["w"].assign(np.abs(signed) if slot == "v" else signed)
    before = bits(optimizer)
    for gradient in bad_gradients():
        update([gradient], float("inf"), apply=False)
        assert bits(optimizer) == before
    update([np.ones(8)], 0.1)
    assert bits(optimizer) != before and int(optimizer.state.updates) == 1


def test_values_that_kernels_take_for_0_are_0_from_the_start() -> None:
    optimizer = make("sgd", {"w": Member(tf.Variable(awkward()))})
    value = optimizer.members["w"].variable.numpy()
    assert value[:4].tobytes() == np.zeros(4, np.float32).tobytes()
    assert value[4:].tobytes() == awkward()[4:].tobytes()


@pytest.mark.parametrize(("variant", "slots"), [("adamw", ["m", "v"]), ("momentum", ["momentum"]), ("sgd", [])])
def test_slots_go_by_name_and_path_in_a_checkpoint(tmp_path, variant: str, slots: list[str]) -> None:
    optimizer = make(variant, {"encoder/x": Member(tf.Variable([1.0]))})
    updating(optimizer)([[2.0]], 0.1)
    tf.train.Checkpoint(optimizers=[optimizer.state]).write(str(tmp_path / "ckpt"))
    names = set(tf.train.load_checkpoint(str(tmp_path / "ckpt")).get_variable_to_shape_map())
    held = {f"optimizers/0/slots/{slot}/encoder.Sx/.ATTRIBUTES/VARIABLE_VALUE" for slot in slots}
    assert names - {"_CHECKPOINTABLE_OBJECT_GRAPH"} == {"optimizers/0/updates/.ATTRIBUTES/VARIABLE_VALUE", *held}


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(ValueError, match="momentum above 0"):
        OPTIMIZERS.get("sgd")(nesterov=True)
