"""float16 with its loss scale, and gradients accumulated: trained for real, interrupted, resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.errors import ConfigError, Interrupted, TrainingError
from rankcli.training import loss_scale
from rankcli.training.base import TRAIN
from rankcli.training.loop import Loop
from rankcli.training.loss_scale import LossScale
from rankcli.training.rates import Rates
from rankcli.training.strategy import make_strategy
from rankcli.verbs.train import train
from tests.training.linear import Linear, batch, bits, inputs, optimizers, squares, step_of

X, LABELS = [[[1.0, 2.0]], [[3.0, -1.0]]], [[-2.0], [5.0]]  # errors of -0.5 and 0.5


def tensors(out: Path, name: str = "iter-00004") -> dict[str, bytes]:
    """Every variable, slot and loss scale of a checkpoint, to the bit."""
    reader = tf.train.load_checkpoint(str(out / "checkpoints" / name / "ckpt"))
    keys = [key for key in reader.get_variable_to_shape_map() if key != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    return {key: np.asarray(reader.get_tensor(key)).tobytes() for key in keys}


def lines(out: Path) -> list[dict[str, Any]]:
    """The entries of the iterations, without the clock."""
    found = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: entry[k] for k in ("iter", "step", "loss", "lr", "skipped")} for entry in found if "loss" in entry]


def test_the_scale_is_halved_when_it_overflows_and_doubled_after_2000_good_steps(monkeypatch) -> None:
    assert (loss_scale.FIRST, loss_scale.PATIENCE) == (32768.0, 2000)
    monkeypatch.setattr(loss_scale, "PATIENCE", 3)
    scale, strategy = LossScale(), make_strategy("cpu")

    def after(finite: bool) -> tuple[float, int]:
        scale.update(strategy, *scale.next(tf.constant(finite)))
        return float(scale.state.scale), int(scale.state.good)

    assert [after(finite) for finite in (True, True, True, True, False, False, True)] == [
        (32768.0, 1),
        (32768.0, 2),
        (65536.0, 0),
        (65536.0, 1),
        (32768.0, 0),
        (16384.0, 0),
        (16384.0, 1),
    ]
    scale.state.scale.assign(2.0)
    assert [after(False)[0] for _ in range(3)] == [1.0, 1.0, 1.0]


def test_an_overflow_at_a_chosen_step_skips_it_for_all_groups_and_the_loss_is_not_scaled() -> None:
    """Only the gradient of w is too large for float16; b is left alone too, and training goes on at half the scale."""
    model = Linear("float16")
    parts, scale = optimizers(model, "adam"), LossScale()
    step = step_of(make_strategy("cpu"), model, parts, scale=scale)
    seen = []
    for number in range(5):
        made = batch([[[1.0, 100.0]], X[1]], [[-198.0], [5.0]]) if number == 2 else batch(X, LABELS)
        before = bits(model, parts)
        made = tf.nest.map_structure(tf.convert_to_tensor, made)
        expected = float(tf.reduce_sum(squares(made[TRAIN], model(made[TRAIN])))) / 2
        done = step(made, inputs(step, 2, [1e-4, 1e-4], number=number))
        assert float(done["loss"]) == pytest.approx(expected)
        if number == 0:  # w: (-0.5 [1, 2] + 0.5 [3, -1]) / 2, b: 0
            np.testing.assert_allclose(done["grad_norm"], [np.hypot(0.5, -0.75), 0.0], rtol=1e-3)
        seen.append(
            (bool(done["finite"]), bits(model, parts) == before, float(done["scale"]), float(scale.state.scale))
        )
    good, halved = 2.0**15, 2.0**14
    assert seen == [
        (True, False, good, good),
        (True, False, good, good),
        (False, True, good, halved),
        (True, False, halved, halved),
        (True, False, halved, halved),
    ]


def test_float16_trains_float32_variables_of_both_groups_to_nearly_the_same_loss(tiny, tmp_path: Path) -> None:
    for amp in ("none", "fp16"):
        train(tiny("crossencoder", f"trainer.amp={amp}", "trainer.niters=2"), out=tmp_path / amp)
    full, half = (lines(tmp_path / amp) for amp in ("none", "fp16"))
    assert [entry["skipped"] for entry in half] == [0, 0]
    for one, other in zip(full, half, strict=True):
        assert other["loss"] != one["loss"] and other["loss"] == pytest.approx(one["loss"], rel=0.02)
    reader = tf.train.load_checkpoint(str(tmp_path / "fp16/checkpoints/iter-00002/ckpt"))
    dtypes = {key: dtype for key, dtype in reader.get_variable_to_dtype_map().items() if key.startswith("model/")}
    assert set(dtypes.values()) == {tf.float32}
    for group in (0, 1):
        keys = [key for key in reader.get_variable_to_shape_map() if key.startswith(f"optimizers/{group}/slots/m/")]
        assert keys and any(np.abs(reader.get_tensor(key)).max() > 0 for key in keys)


@pytest.mark.parametrize(
    "overrides",
    [
        ("trainer.amp=fp16", "trainer.accumulate=2", "trainer.optimizer=adamw"),
        ("trainer.accumulate=2", "trainer.optimizer={name: sgd, momentum: 0.9, nesterov: true}"),
    ],
    ids=["float16, adamw", "momentum"],
)
def test_a_resumed_run_equals_the_whole_one_to_the_bit(
    tiny, tmp_path: Path, stop_after, monkeypatch, overrides: tuple[str, ...]
) -> None:
    """Dropout on, micro-batches; in float16 the scale starts so high that steps are skipped before and after."""
    monkeypatch.setattr(loss_scale, "FIRST", 2.0**23)
    monkeypatch.setattr(loss_scale, "PATIENCE", 2)
    config = tiny("crossencoder", "trainer.validatefreq=4", *overrides)
    train(config, out=tmp_path / "whole")
    stop_after(7)
    with pytest.raises(Interrupted):
        train(config, out=tmp_path / "parts")
    train(config, out=tmp_path / "parts")
    whole, parts = tensors(tmp_path / "whole"), tensors(tmp_path / "parts")
    assert whole == parts and lines(tmp_path / "whole") == lines(tmp_path / "parts")
    assert (tmp_path / "whole/dev.run").read_bytes() == (tmp_path / "parts/dev.run").read_bytes()
    skipped = [entry["skipped"] for entry in lines(tmp_path / "whole")]
    assert (sum(skipped[:2]) > 0 and sum(skipped[2:]) > 0) == ("trainer.amp=fp16" in overrides)
    updates = np.frombuffer(whole["optimizers/0/updates/.ATTRIBUTES/VARIABLE_VALUE"], np.int64)
    assert updates == 12 - sum(skipped)


@pytest.mark.parametrize("skipped", [{1}, {0, 1, 2}], ids=["one of three", "all"])
def test_the_logged_loss_is_the_mean_over_steps_that_were_not_skipped(
    tiny, tmp_path: Path, monkeypatch, skipped: set[int]
) -> None:
    losses: list[float] = []
    note = Loop._note

    def noted(self: Loop, done: Any, state: Any) -> Any:
        if state.step in skipped:
            done = {**done, "finite": False, "loss": float("inf")}
        else:
            losses.append(float(done["loss"]))
        return note(self, done, state)

    monkeypatch.setattr(Loop, "_note", noted)
    train(tiny("crossencoder", "trainer.amp=fp16", "trainer.niters=1"), out=tmp_path / "run")
    (entry,) = lines(tmp_path / "run")
    assert entry["skipped"] == len(skipped) and len(losses) == 3 - len(skipped)
    assert entry["loss"] == (pytest.approx(sum(losses) / 2) if losses else None)


def test_training_stops_with_5_when_no_scale_helps(tiny, tmp_path: Path, monkeypatch) -> None:
    rates = Rates.__call__
    monkeypatch.setattr(
        Rates, "__call__", lambda self, s: {k: float("inf") if s == 4 else v for k, v in rates(self, s).items()}
    )
    monkeypatch.setattr(loss_scale, "FIRST", 4.0)
    with pytest.raises(TrainingError, match="step 8 is nan") as failed:
        train(tiny("crossencoder", "trainer.amp=fp16", "trainer.itersize=20"), out=tmp_path / "run")
    assert failed.value.exit_code == 5


def test_a_batch_that_micro_batches_do_not_divide_is_refused(tiny) -> None:
    with pytest.raises(ConfigError, match="batch = 2 cannot be divided into accumulate = 4 parts"):
        tiny("crossencoder", "trainer.accumulate=4")


def test_float16_is_refused_on_a_tpu(tiny) -> None:
    with pytest.raises(ConfigError, match="a TPU computes in bf16"):
        tiny("crossencoder", "trainer.amp=fp16", "trainer.strategy=tpu", "trainer.tpuname=local")
