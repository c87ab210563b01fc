"""The loop, trained for real on a tiny collection: what is resumed, kept, refused and reported."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.errors import ConfigError, Interrupted, StorageError, TrainingError
from rankcli.listeners.validation import Validator
from rankcli.training.checkpoint import Checkpoints
from rankcli.training.loop import Loop
from rankcli.training.rates import Rates
from rankcli.training.step import TrainingStep
from rankcli.verbs.train import train
from tests.clocked import metrics
from tests.training.linear import inputs


def tensors(out: Path, name: str = "iter-00004") -> dict[str, bytes]:
    """Every variable and optimizer slot of a checkpoint, to the bit."""
    reader = tf.train.load_checkpoint(str(out / "checkpoints" / name / "ckpt"))
    keys = [key for key in reader.get_variable_to_shape_map() if key != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    return {key: np.asarray(reader.get_tensor(key)).tobytes() for key in keys}


def lines(out: Path) -> list[dict[str, Any]]:
    """`metrics.jsonl` without the clock."""
    return metrics((out / "metrics.jsonl").read_bytes())


@pytest.mark.parametrize("steps", [6, 7], ids=["between iterations", "within an iteration"])
def test_defect_02_a_resumed_run_equals_the_whole_one_to_the_bit(tiny, tmp_path: Path, stop_after, steps: int) -> None:
    """Weights, optimizer slots, losses, learning rates and the runs, with dropout on."""
    config = tiny()
    whole = train(config, out=tmp_path / "whole")["result"]
    stop_after(steps)
    with pytest.raises(Interrupted) as stopped:
        train(config, out=tmp_path / "parts")
    assert stopped.value.exit_code == 143
    parts = train(config, out=tmp_path / "parts")["result"]
    assert tensors(tmp_path / "whole") == tensors(tmp_path / "parts")
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    for run in ("dev.run", "test.run", "test.interpolated.run"):
        assert (tmp_path / "whole" / run).read_bytes() == (tmp_path / "parts" / run).read_bytes()
    clock = ("train_seconds", "pairs_per_second", "seconds")
    assert {k: v for k, v in whole.items() if k not in clock} == {k: v for k, v in parts.items() if k not in clock}


def test_defect_01_resuming_goes_on_at_the_next_step(tiny, tmp_path: Path, stop_after, on_step, capsys) -> None:
    stop_after(5)
    with pytest.raises(Interrupted):
        train(tiny(), out=tmp_path / "run")
    seen: list[int] = []
    on_step(lambda now, done: seen.append(now.step))
    train(tiny(), out=tmp_path / "run")
    assert seen == [6, 7, 8, 9, 10, 11, 12]
    assert "resuming at step 5 of 12" in capsys.readouterr().err


def test_defect_03_a_finished_run_prints_its_result_and_trains_no_step(tiny, tmp_path: Path, monkeypatch) -> None:
    first = train(tiny(), out=tmp_path / "run")["result"]
    before = hashlib.sha256((tmp_path / "run/metrics.jsonl").read_bytes()).hexdigest()
    monkeypatch.setattr(Loop, "fit", lambda self: pytest.fail("it trained"))
    assert train(tiny(), out=tmp_path / "run")["result"] == first
    assert hashlib.sha256((tmp_path / "run/metrics.jsonl").read_bytes()).hexdigest() == before


def test_defect_04_a_run_stopped_before_its_first_validation_is_resumed(
    tiny, tmp_path: Path, stop_after, capsys
) -> None:
    config = tiny("crossencoder", "trainer.validatefreq=4")
    stop_after(7)
    with pytest.raises(Interrupted):
        train(config, out=tmp_path / "run")
    train(config, out=tmp_path / "run")
    assert "resuming at step 7" in capsys.readouterr().err
    assert [entry["iter"] for entry in lines(tmp_path / "run") if "dev" in entry] == [0, 4]


def test_defect_05_a_checkpoint_that_does_not_load_is_reported_and_kept(
    tiny, tmp_path: Path, stop_after, capsys
) -> None:
    config = tiny()
    stop_after(7)
    with pytest.raises(Interrupted):
        train(config, out=tmp_path / "run")
    broken = tmp_path / "run/checkpoints/iter-00002-step-000007"
    (broken / "state.json").write_text("{")
    train(config, out=tmp_path / "run")
    said = capsys.readouterr().err
    assert "iter-00002-step-000007: this checkpoint does not load" in said and "resuming at step 6" in said


def test_when_no_checkpoint_loads_the_run_stops_with_6_and_deletes_nothing(tiny, tmp_path: Path, stop_after) -> None:
    stop_after(4)
    with pytest.raises(Interrupted):
        train(tiny(), out=tmp_path / "run")
    for state in (tmp_path / "run/checkpoints").glob("*/state.json"):
        state.write_text("{}")
    names = sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir())
    with pytest.raises(StorageError) as refused:
        train(tiny(), out=tmp_path / "run")
    assert refused.value.exit_code == 6
    assert sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == names


@pytest.mark.parametrize("kept", [True, False], ids=["after the checkpoint", "before the checkpoint"])
def test_a_run_killed_at_the_end_of_an_iteration_repeats_only_what_is_missing(
    tiny, tmp_path: Path, monkeypatch, kept: bool
) -> None:
    """A kill between metrics and checkpoint, or between checkpoint and validation, leaves no trace in the result."""
    train(tiny(), out=tmp_path / "whole")
    target, name = (Validator, "validate") if kept else (Checkpoints, "save")
    real, calls = getattr(target, name), []

    def die_the_third_time(self: Any, *args: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(target, name, die_the_third_time)
        with pytest.raises(KeyboardInterrupt):
            train(tiny(), out=tmp_path / "parts")
    train(tiny(), out=tmp_path / "parts")
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    assert tensors(tmp_path / "whole") == tensors(tmp_path / "parts")
    assert (tmp_path / "whole/dev.run").read_bytes() == (tmp_path / "parts/dev.run").read_bytes()


def test_defect_06_bfloat16_trains_float32_variables_and_reports_the_unscaled_loss(tiny, tmp_path: Path) -> None:
    for amp in ("none", "bf16"):
        train(tiny("crossencoder", f"trainer.amp={amp}", "trainer.niters=1"), out=tmp_path / amp)
    full, half = (lines(tmp_path / amp)[1]["loss"] for amp in ("none", "bf16"))
    assert half != full and half == pytest.approx(full, rel=0.02)
    reader = tf.train.load_checkpoint(str(tmp_path / "bf16/checkpoints/iter-00001/ckpt"))
    dtypes = {key: dtype for key, dtype in reader.get_variable_to_dtype_map().items() if key.startswith("model/")}
    assert set(dtypes.values()) == {tf.float32}
    slots = [
        key for key, shape in reader.get_variable_to_shape_map().items() if key.startswith("optimizers/") and shape
    ]
    for group in ("optimizers/0", "optimizers/1"):
        assert any(np.abs(reader.get_tensor(key)).max() > 0 for key in slots if key.startswith(group))


@pytest.mark.parametrize("decaytype", ["linear", "cosine"])
def test_defect_07_both_groups_use_the_scheduled_learning_rate_at_every_step(
    tiny, tmp_path: Path, monkeypatch, decaytype
) -> None:
    used: list[list[float]] = []
    take = TrainingStep.__call__

    def noted(self: TrainingStep, *args: Any) -> dict[str, Any]:
        used.append(args[1].rates.numpy().tolist())
        return take(self, *args)

    monkeypatch.setattr(TrainingStep, "__call__", noted)
    train(tiny("crossencoder", "trainer.warmupiters=1", f"trainer.decaytype={decaytype}"), out=tmp_path / "run")
    after = {"linear": lambda x: 1 - x, "cosine": lambda x: (1 + np.cos(np.pi * x)) / 2}[decaytype]
    factors = [(s + 1) / 3 if s < 3 else after((s - 3) / 9) for s in range(12)]
    np.testing.assert_allclose(used, [[1e-3 * f, 1e-2 * f] for f in factors], rtol=1e-6)


def test_defect_14_warm_up_starts_at_the_first_step_and_is_not_shifted(tiny) -> None:
    factor = tiny("crossencoder", "trainer.warmupiters=1").trainer.factor()
    assert [factor(s) for s in range(4)] == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])


def test_a_loss_that_is_not_finite_stops_the_run_with_5_and_keeps_the_checkpoint(
    tiny, tmp_path: Path, monkeypatch
) -> None:
    rates = Rates.__call__
    monkeypatch.setattr(
        Rates,
        "__call__",
        lambda self, s: {name: float("inf") if s == 7 else v for name, v in rates(self, s).items()},
    )
    with pytest.raises(TrainingError, match="step 9 is nan") as failed:
        train(tiny(), out=tmp_path / "run")
    assert failed.value.exit_code == 5
    kept = tmp_path / "run/checkpoints/iter-00002"
    assert json.loads((kept / "state.json").read_text())["step"] == 6


def test_another_run_in_the_directory_is_refused_with_what_differs(tiny, tmp_path: Path) -> None:
    train(tiny(), out=tmp_path / "run")
    with pytest.raises(ConfigError) as refused:
        train(tiny("crossencoder", "trainer.bertlr=1e-4", "extractor.maxqlen=5"), out=tmp_path / "run")
    assert refused.value.exit_code == 2
    assert "trainer.bertlr (0.001, wanted 0.0001)" in str(refused.value)
    assert "extractor.maxqlen (6, wanted 5)" in str(refused.value)


def test_without_fastforward_a_used_directory_is_refused_and_overwrite_sets_it_aside(tiny, tmp_path: Path) -> None:
    config = tiny("crossencoder", "trainer.fastforward=false")
    train(config, out=tmp_path / "run")
    with pytest.raises(ConfigError, match="not empty"):
        train(config, out=tmp_path / "run")
    before = (tmp_path / "run/result.json").read_bytes()
    train(config, out=tmp_path / "run", overwrite=True)
    assert (tmp_path / "run.old-1/result.json").read_bytes() == before
    assert (tmp_path / "run/result.json").exists()


def test_only_the_newest_two_checkpoints_are_kept(tiny, tmp_path: Path) -> None:
    train(tiny(), out=tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == ["iter-00003", "iter-00004"]


def test_best_weights_are_those_of_the_best_validation(tiny, tmp_path: Path) -> None:
    result = train(tiny(), out=tmp_path / "run")["result"]
    validations = [entry for entry in lines(tmp_path / "run") if "dev" in entry]
    for metric, best in result["best"].items():
        values = [entry["dev"][metric] for entry in validations]
        assert best == {
            "iter": validations[int(np.argmax(values))]["iter"],
            "value": max(values),
            "path": f"best/{metric}",
        }
        assert (tmp_path / "run" / best["path"] / "model.safetensors").exists()
    assert result["splits"]["dev"]["reranked"]["ndcg_cut_10"] == pytest.approx(
        result["best"]["ndcg_cut_10"]["value"], abs=1e-9
    )


def test_all_folds_pool_every_query_once(tiny, tmp_path: Path) -> None:
    found = train(tiny("TFKNRM", "data.folds.fold=all", "trainer.niters=1"), out=tmp_path / "run")
    pooled = found["result"]
    singles = [json.loads((tmp_path / f"run/fold-{n}/result.json").read_text())["splits"]["test"] for n in range(3)]
    assert pooled["splits"]["test"]["queries"] == sum(single["queries"] for single in singles) == 12
    for stage in ("first_stage", "reranked", "interpolated"):
        mean = sum(single[stage]["map"] * single["queries"] for single in singles) / 12
        assert pooled["splits"]["test"][stage]["map"] == pytest.approx(mean, abs=1e-6)
    assert len(pooled["alpha"]) == 3


def test_a_dry_run_shows_the_plan_and_writes_no_run(tiny, tmp_path: Path) -> None:
    plan = train(tiny(), out=tmp_path / "run", dry_run=True)
    assert not (tmp_path / "run").exists()
    assert plan["result"]["steps"] == 12 and plan["result"]["samples"]["train"] == 24
    encoder, head = plan["result"]["groups"]
    assert (encoder["lr"], head["lr"], head["parameters"]) == (1e-3, 1e-2, 17)
    assert not plan["result"]["cache"]["train"]["hit"]
    reranked = plan["result"]["reranked"]
    assert {name: (found["queries"], found["depth"]) for name, found in reranked.items()} == {
        "dev": (4, 10),
        "test": (4, 20),
    }
    train(tiny(), out=tmp_path / "run")
    lines = (tmp_path / "run" / "dev.run").read_text().splitlines()
    first = {qid: sum(line.split()[0] == qid for line in lines) for qid in {line.split()[0] for line in lines}}
    assert reranked["dev"]["pairs"] == sum(min(10, count) for count in first.values())
    assert f"dev: 4 queries, at most 10 candidates of each: {reranked['dev']['pairs']} pairs to rerank" in plan["text"]
    after = train(tiny(), out=tmp_path / "run", dry_run=True)["result"]
    assert after["cache"]["train"]["hit"] and after["cache"]["train"]["bytes"] > 0
    assert json.loads((tmp_path / "run/run.json").read_text())["run_id"] == plan["result"]["run_id"] == after["run_id"]


def test_dropout_differs_from_step_to_step_and_is_the_same_for_the_same_step(tiny, tmp_path: Path, monkeypatch) -> None:
    losses: dict[int, list[float]] = {}
    call = TrainingStep.__call__

    def again(self: TrainingStep, batches: Any, given: Any) -> Any:
        for number in (3, 4, 3, 4):
            done = call(self, batches, inputs(self, 2, [0.0, 0.0], number=number))
            losses.setdefault(number, []).append(float(done["loss"]))
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingStep, "__call__", again)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(), out=tmp_path / "run")
    assert losses[3][0] == losses[3][1] != losses[4][0] == losses[4][1]
