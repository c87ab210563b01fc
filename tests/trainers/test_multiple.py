"""Several tasks in one step: by hand, against the plain trainer, interrupted and resumed; and single documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.registry import TRAINERS
from rankcli.config.render import section
from rankcli.config.validate import component_from
from rankcli.encoders.dropout import Dropout
from rankcli.errors import ConfigError, Interrupted
from rankcli.records.reader import training_batches
from rankcli.runs.prepare import prepare
from rankcli.shapes import StepContext
from rankcli.training.base import TRAIN, TrainingSet
from rankcli.training.gradients import OTHER_TASKS, Objective, stacked
from rankcli.training.step import TrainingStep
from rankcli.training.strategy import make_strategy
from rankcli.training.tasks import task_batches
from rankcli.verbs.train import train
from tests.training.linear import Linear, batch, inputs, optimizers, squares
from tests.training.test_precision import tensors

RATES = "niters: 4, bertlr: 1e-3, lr: 1e-2, threshold: 10, testthreshold: 20, strategy: cpu"
TASKS = (
    "{rank: {sampler: {name: LCE, nneg: 3}, batch: 2}, point: {sampler: pair, loss: bce, batch: 4, "
    "weight: {start: 0.0, end: 0.5, iterations: 3}, "
    "extractor: {name: passage, maxseqlen: 16, maxqlen: 6, vocab_size: 60}}}"
)
X = np.array([[[1.0, 2.0]], [[3.0, -1.0]], [[0.5, 0.5]], [[-2.0, 1.0]]])
LABELS = np.array([[1.0], [0.0], [2.0], [-1.0]])


def several(tiny: Any, tasks: str = TASKS, itersize: int = 18) -> Any:
    return made(tiny, f"name: multiple, tasks: {tasks}, itersize: {itersize}, {RATES}", "sampler={name: LCE, nneg: 7}")


def made(tiny: Any, trainer: str, *overrides: str) -> Any:
    """The tiny configuration with another trainer; an option of the other one is left behind by naming it first."""
    return tiny("crossencoder", "trainer.name=tensorflow", f"trainer={{{trainer}}}", *overrides)


def lines(out: Path, *keys: str) -> list[dict[str, Any]]:
    """The values of some keys in the entries of the iterations."""
    found = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: entry.get(key) for key in keys} for entry in found if "loss" in entry]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_step_follows_the_weighted_sum_of_each_tasks_mean(accumulate: int) -> None:
    """Task a is the first two groups, b all four with labels of 0; weights 1 and 3."""
    model = Linear()
    objective = Objective({"a": ("loss", squares), "b": ("loss", squares)})
    named = dict(zip(model.variables, optimizers(model), strict=True))
    step = TrainingStep(make_strategy("cpu"), model, objective, named, 1, accumulate=accumulate)
    parts = []
    for n in range(accumulate):
        a, b = (slice(n * size // accumulate, (n + 1) * size // accumulate) for size in (2, 4))
        parts.append({"a": batch(X[a], LABELS[a])[TRAIN], "b": batch(X[b], 0 * LABELS[b])[TRAIN]})
    made = tf.nest.map_structure(tf.convert_to_tensor, stacked(parts, accumulate)[0])
    done = step(made, inputs(step, {"a": 2, "b": 4}, [1.0, 1.0], b=3.0))
    scores = X[:, 0] @ [1.0, -2.0] + 0.5
    a, b = (scores - LABELS[:, 0])[:2], scores
    assert step.losses_of(done) == {"losses": pytest.approx({"a/loss": (a @ a) / 4, "b/loss": (b @ b) / 8})}
    assert float(done["loss"]) == pytest.approx((a @ a) / 4 + 3 * (b @ b) / 8)
    w, bias = a @ X[:2, 0] / 2 + 3 * (b @ X[:, 0]) / 4, a.mean() + 3 * b.mean()
    np.testing.assert_allclose(model.variables["encoder/w"], [1.0, -2.0] - w, rtol=1e-5)
    np.testing.assert_allclose(model.variables["head/b"], [0.5 - bias], rtol=1e-5)


def test_every_task_has_dropout_of_its_own_and_the_first_that_of_a_single_one() -> None:
    model = Linear(rate=0.5)
    objective = Objective({task: ("loss", squares) for task in ("b", "a")})
    made = tf.nest.map_structure(tf.convert_to_tensor, batch(X, LABELS))[TRAIN]
    key = Dropout.of(1, 5)
    terms, outputs = objective(model, {"a": made, "b": made}, key, {"a": 4.0, "b": 4.0}, StepContext())
    assert objective.names == ["b/loss", "a/loss"] and list(outputs) == ["b", "a"]
    assert float(terms[0]) != float(terms[1])
    for term, own in zip(terms, (key, key.fold(OTHER_TASKS + 1)), strict=True):
        assert float(term) == float(tf.reduce_sum(squares(made, model(made, own)))) / 4


def test_weights_are_constant_or_go_in_a_straight_line_and_stay(tiny) -> None:
    trainer = several(tiny).trainer
    assert (trainer.batch, trainer.steps_per_iter, trainer.steps) == (6, 3, 12)
    shares = [trainer.task_groups_and_weights(step) for step in range(12)]
    assert {share["rank"] for share in shares} == {(2, 1.0)} and {share["point"].groups for share in shares} == {4}
    line = [0.5 * min(step / 9, 1) for step in range(12)]
    assert [share["point"].weight for share in shares] == pytest.approx(line)
    assert component_from(TRAINERS, section(TRAINERS, trainer)) == trainer


def test_a_single_task_of_weight_1_trains_as_the_plain_trainer_to_the_bit(tiny, tmp_path: Path) -> None:
    """Dropout on; its name is in the id and in what is logged, not in the weights."""
    train(tiny(), out=tmp_path / "plain")
    train(several(tiny, "{only: {sampler: {name: LCE, nneg: 3}, batch: 2}}", 6), out=tmp_path / "one")
    assert tensors(tmp_path / "one") == tensors(tmp_path / "plain")
    keys = ("iter", "step", "loss", "lr", "losses")
    assert lines(tmp_path / "one", *keys) == lines(tmp_path / "plain", *keys)
    assert (tmp_path / "one/dev.run").read_bytes() == (tmp_path / "plain/dev.run").read_bytes()


def test_what_a_task_reads_at_a_step_does_not_depend_on_the_other_tasks_or_on_where_reading_starts(tiny) -> None:
    prepared = prepare(several(tiny))
    sets = {
        key: TrainingSet(prepared.sets.records(each.name), each.extractor)
        for key, each in prepared.sets.of(TRAIN).items()
    }
    sizes = prepared.trainer.batches
    read = list(task_batches(sets, sizes, parts=2, start=0, steps=12, static=False))
    late = list(task_batches(sets, sizes, parts=2, start=7, steps=12, static=False))
    assert len(read) == 12 and len(late) == 5
    alone = {
        task: list(training_batches(each.records, each.extractor, batch=sizes[task], replicas=2, steps=12))
        for task, each in sets.items()
    }
    for number, parts in enumerate(read):
        for n, part in enumerate(parts):
            assert {task: len(made.labels) for task, made in part.items()} == {"rank": 1, "point": 2}
            for others in [alone["rank"][number][n], alone["point"][number][n]]:
                mine = part["rank" if others.labels.shape[1] == 4 else "point"]
                tf.nest.map_structure(np.testing.assert_array_equal, mine, others)
            if number >= 7:
                tf.nest.map_structure(np.testing.assert_array_equal, part, late[number - 7][n])


def test_tasks_and_hooks_resumed_within_an_iteration_equal_the_whole_run_to_the_bit(
    tiny, tmp_path: Path, stop_after
) -> None:
    """Dropout, two micro-batches, a weight that changes; terms and measures are logged by name."""
    trainer = f"name: multiple, tasks: {TASKS}, itersize: 18, accumulate: 2, {RATES}, validatefreq: 4"
    hooks = "hooks: [{name: l2, weight: 1e-4}, {name: clipnorm, norm: 0.1}]"
    config = made(tiny, f"{trainer}, {hooks}", "sampler={name: LCE, nneg: 7}")
    train(config, out=tmp_path / "whole")
    stop_after(7)
    with pytest.raises(Interrupted):
        train(config, out=tmp_path / "parts")
    train(config, out=tmp_path / "parts")
    assert tensors(tmp_path / "whole") == tensors(tmp_path / "parts")
    keys = ("iter", "loss", "losses", "measures")
    whole = lines(tmp_path / "whole", *keys)
    assert whole == lines(tmp_path / "parts", *keys)
    assert [list(entry["losses"]) for entry in whole] == [["rank/loss", "point/loss", "l2"]] * 4
    for number, entry in enumerate(whole):
        losses, mean_weight = entry["losses"], np.mean([0.5 * min(s / 9, 1) for s in range(3 * number, 3 * number + 3)])
        rest = entry["loss"] - losses["rank/loss"] - 1e-4 * losses["l2"]
        assert rest == pytest.approx(mean_weight * losses["point/loss"], rel=0.02, abs=1e-6)


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_pointwise_training_comes_closer_to_the_labels_of_single_documents(tiny, tmp_path: Path, loss: str) -> None:
    trainer = f"trainer={{name: pointwise, loss: {loss}, batch: 4, itersize: 32, {RATES}}}"
    config = tiny("TFKNRM", "trainer.name=tensorflow", trainer, "sampler=pair")
    train(config, out=tmp_path / "run")
    losses = [entry["loss"] for entry in lines(tmp_path / "run", "loss")]
    assert losses[-1] < 0.95 * losses[0]


def test_a_tasks_extractor_must_make_what_the_model_can_read(tiny) -> None:
    tasks = TASKS.replace("vocab_size: 60", "vocab_size: 50")
    with pytest.raises(ConfigError, match="not those of the run's extractor") as refused:
        prepare(several(tiny, tasks))
    assert refused.value.where == "trainer.tasks.point.extractor" and refused.value.exit_code == 2


def test_a_hooks_weight_may_be_a_ramp(tiny, tmp_path: Path, on_step) -> None:
    """Step s of 12, three an iteration, has the weight min(s / 6, 1) of the hinge and (1 - min(s / 3, 1)) of the l2."""
    hooks = (
        "hooks: [{name: loss, loss: pairwise_hinge, weight: {start: 0, end: 1, iterations: 2}}, "
        "{name: l2, weight: {start: 1, end: 0, iterations: 1}}]"
    )
    seen: list[list[float]] = []
    on_step(lambda now, done: seen.append([float(done["loss"]), *done["losses"].numpy().tolist()]))
    train(tiny("TFKNRM", f"trainer={{{hooks}}}"), out=tmp_path / "run")
    assert len(seen) == 12
    for step, (loss, lce, hinge, l2) in enumerate(seen):
        wanted = lce + min(step / 6, 1) * hinge + (1 - min(step / 3, 1)) * l2
        assert loss == pytest.approx(wanted, rel=1e-5)
