"""Replicas, XLA and a TPU that is not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.cli import doctor
from rankcli.encoders.dropout import Dropout
from rankcli.errors import MissingError
from rankcli.records.interleave import read_examples
from rankcli.records.reader import prediction_batches, training_batches
from rankcli.rerankers.base import RerankerContext
from rankcli.runs.prepare import prepare
from rankcli.shapes import StepContext
from rankcli.training.base import TRAIN, StepInputs
from rankcli.training.gradients import Objective, gradients_of
from rankcli.training.strategy import make_strategy, per_replica, warn_of_bfloat16
from tests.rerankers.tiny_models import ON_TEXTS

TRAINING = """
import sys
from pathlib import Path
from types import SimpleNamespace
from rankcli.backend import tf
from rankcli.cli import doctor
cpus = int(sys.argv[3])
device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * cpus)
from rankcli.config.load import load_config
from rankcli.verbs.train import train
strategy = "mirrored" if cpus > 1 else "cpu"
size = "{layers: 1, hidden: 16, heads: 2, intermediate: 512, dropout: 0.0}"  # GELU by XLA, too
overrides = ["trainer.strategy=" + strategy, "reranker.dropout=0.0", "reranker.encoder=" + size, "trainer.niters=2"]
overrides += ["trainer.batch=4", "trainer.itersize=8"]
train(load_config([sys.argv[1]], overrides)[0], out=Path(sys.argv[2]))
"""


def test_two_and_four_replicas_train_as_one_does(tiny, tmp_path: Path) -> None:
    """The same losses and weights to float tolerance, without dropout, which differs between replicas."""
    tiny()
    folders = []
    for cpus in (1, 2, 4):
        folders.append(tmp_path / f"cpus-{cpus}")
        command = [sys.executable, "-c", TRAINING, str(tmp_path / "crossencoder.yaml"), str(folders[-1]), str(cpus)]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[2], env={**os.environ}, timeout=300)
    runs = [[json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()] for folder in folders]
    one, *others = ([entry["loss"] for entry in run if "loss" in entry] for run in runs)
    assert len(one) == 2
    for losses in others:
        np.testing.assert_allclose(losses, one, rtol=1e-5)
    alone, *shared = (tf.train.load_checkpoint(str(folder / "checkpoints/iter-00002/ckpt")) for folder in folders)
    # A softmax over the group does not see the head's bias: its gradient is rounding, and Adam makes steps of that.
    keys = [
        key for key in alone.get_variable_to_shape_map() if key.startswith("model/") and "classifier.Sbias" not in key
    ]
    assert len(keys) > 10 and len(shared) == 2
    for reader in shared:
        for key in keys:
            np.testing.assert_allclose(reader.get_tensor(key), alone.get_tensor(key), atol=2e-4)


@pytest.mark.parametrize("name", ON_TEXTS)
def test_train_and_predict_compile_with_xla_at_static_shapes_and_agree(tiny, name: str) -> None:
    """XLA on the CPU stands in for a TPU's compiler; dropout is off since its bits differ under XLA."""
    config = tiny(name)
    prepared = prepare(config)
    model = config.reranker.build(RerankerContext(prepared.start.extractor))
    records = prepared.sets.records("train")
    objective = Objective({TRAIN: ("loss", config.trainer.loss.build())})
    read = training_batches(records, prepared.start.extractor, batch=2, steps=1, static=True)
    batch = per_replica(make_strategy("cpu"), next(read))
    variables = [variable for variable in model.variables.values() if variable.trainable]

    def step(batch: object) -> object:
        inputs = StepInputs(0, {TRAIN: 2.0}, [1.0], [], [])
        return gradients_of(objective, model, variables, {TRAIN: batch}, None, inputs, StepContext())[0][:2]

    (plain_loss, _), plain = tf.function(step)(batch)
    (xla_loss, _), xla = tf.function(step, jit_compile=True)(batch)
    assert float(xla_loss) == pytest.approx(float(plain_loss), rel=1e-4)
    for one, other in zip(plain, xla, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(one), tf.convert_to_tensor(other), atol=2e-4)
    dev = prepared.sets.records("dev")
    (pairs,), _ = next(prediction_batches(read_examples(dev), prepared.start.extractor, evalbatch=8, static=True))
    pairs = tf.nest.map_structure(tf.convert_to_tensor, pairs)
    scores = tf.function(lambda batch: model(batch).scores, jit_compile=True)(pairs)
    np.testing.assert_allclose(scores, model(pairs).scores, atol=1e-4)
    assert scores.shape == (8, 1)


@pytest.mark.parametrize("name", ON_TEXTS)
def test_training_with_dropout_compiles_with_xla(tiny, name: str) -> None:
    config = tiny(name)
    prepared = prepare(config)
    model = config.reranker.build(RerankerContext(prepared.start.extractor))
    records = prepared.sets.records("train")
    read = training_batches(records, prepared.start.extractor, batch=2, steps=1, static=True)
    batch = per_replica(make_strategy("cpu"), next(read))
    scores = tf.function(lambda b, s: model(b, Dropout.of(1, s)).scores, jit_compile=True)
    first, again, later = (scores(batch, tf.constant(step)).numpy() for step in (3, 3, 4))
    assert np.isfinite(first).all() and (first == again).all()
    assert (first != later).any() == (name not in ("TFKNRM", "ConvKNRM", "DRMM", "DRMMTKS", "TK"))  # without dropout


def test_static_shapes_are_few(tiny) -> None:
    """No more shapes than there are buckets, or a TPU would compile at every step."""
    prepared = prepare(tiny("crossencoder", "trainer.niters=8"))
    records = prepared.sets.records("train")
    read = training_batches(records, prepared.start.extractor, batch=2, steps=24, static=True)
    shapes = {batch.fields["pair"].layout.ids.shape for (batch,) in read}
    assert len(shapes) <= 4 and shapes <= {(r, 48) for r in range(1, 5)} | {(r, 24) for r in range(1, 9)}


def test_a_tpu_that_is_not_there_is_exit_4(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(**options: object) -> None:
        raise ValueError("no such TPU\nand more")

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", absent)
    with pytest.raises(MissingError, match="'local' cannot be reached: no such TPU") as missing:
        make_strategy("tpu", "local")
    assert missing.value.exit_code == 4


def gpus(monkeypatch: pytest.MonkeyPatch, *capabilities: tuple[int, int]) -> None:
    """Let TensorFlow list GPUs that are not there."""
    found = [SimpleNamespace(name=f"/device:GPU:{n}", device_type="GPU") for n in range(len(capabilities))]
    of = dict(zip((gpu.name for gpu in found), capabilities, strict=True))
    for listing in ("list_logical_devices", "list_physical_devices"):
        monkeypatch.setattr(tf.config, listing, lambda kind=None: found)
    details = lambda gpu: {"compute_capability": of[gpu.name]}  # noqa: E731
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details)


def test_one_gpu_alone_has_no_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, (9, 0))
    strategy = make_strategy("auto")
    assert isinstance(strategy, tf.distribute.OneDeviceStrategy)
    assert strategy.extended.worker_devices == ("/job:localhost/replica:0/task:0/device:GPU:0",)


def test_gpus_without_hardware_for_bf16_are_named(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    gpus(monkeypatch, (8, 0), (7, 5), (9, 0))
    warn_of_bfloat16()
    assert capsys.readouterr().err.count("no hardware for bf16") == 1
    assert [each.detail for each in doctor._devices()] == [
        "/device:GPU:0 (GPU)",
        "/device:GPU:1 (GPU); no hardware for bf16",
        "/device:GPU:2 (GPU)",
    ]
