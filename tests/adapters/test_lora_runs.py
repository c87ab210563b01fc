"""Trainings with a low-rank adapter: what is kept, resumed, opened again, started from, and refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from rankcli.backend import tf
from rankcli.errors import ConfigError, Interrupted, StorageError
from rankcli.rerankers.base import Reranker
from rankcli.rerankers.saved import save_reranker, sections_of
from rankcli.runs.model import find_model
from rankcli.runs.opened import open_model
from rankcli.runs.prepare import prepare
from rankcli.training.variables import open_variables
from rankcli.verbs.train import train

LORA = "reranker.adapter={name: lora, rank: 2}"


def weights(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / "best/ndcg_cut_10/model.safetensors")


def checkpoint(run: Path) -> Path:
    return max((run / "checkpoints").iterdir())


def opened(path: Path, weights: str) -> Reranker:
    return open_model(find_model(str(path), weights), weights, "float32").reranker


@pytest.fixture
def base(tiny, tmp_path) -> Path:
    """A directory of random weights, with the collection's vocabulary."""
    config = tiny("crossencoder", "trainer.seed=7")
    prepared = prepare(config)
    reranker, extractor = prepared.start.build(7, "float32"), prepared.start.extractor
    save_reranker(reranker, extractor, sections_of(config.reranker, config.extractor), tmp_path / "base")
    return tmp_path / "base"


def test_checkpoints_have_the_adapter_and_the_classifier_alone_and_best_has_merged_weights(tiny, base, tmp_path):
    config = tiny("crossencoder", LORA, f"reranker.pretrained={base}", "trainer.niters=2")
    train(config, out=tmp_path / "run")
    kept = open_variables(checkpoint(tmp_path / "run"))
    qkv, head = "encoder/layer_0/attention/qkv/kernel", {"classifier", "encoder/pooler"}
    products = {f"{qkv}/lora_a", f"{qkv}/lora_b"}
    assert set(kept) == products | {f"{each}/{part}" for each in head for part in ("kernel", "bias")}
    slots = tf.train.load_checkpoint(str(checkpoint(tmp_path / "run") / "ckpt")).get_variable_to_shape_map()
    assert max(int(np.prod(shape)) for shape in slots.values()) == 16 * 16  # the pooler: none of the 60 x 16 words
    before, after = load_file(base / "model.safetensors"), weights(tmp_path / "run")
    assert before.keys() == after.keys()
    attention = "bert.encoder.layer.0.attention.self"
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed >= {f"{attention}.query.weight", f"{attention}.value.weight", "classifier.weight"}
    assert all("pooler" in name or "classifier" in name or name.startswith(attention) for name in changed)
    saved = json.loads((tmp_path / "run/best/ndcg_cut_10/rankcli.json").read_text())
    assert saved["reranker"]["adapter"] is None
    assert not list((tmp_path / "run").glob("best/*/adapter"))


def test_a_resumed_run_equals_the_whole_one_to_the_bit(tiny, tmp_path, stop_after):
    config = tiny("crossencoder", LORA, "reranker.adapter.dropout=0.1", "trainer.niters=2")
    train(config, out=tmp_path / "whole")
    stop_after(4)
    with pytest.raises(Interrupted):
        train(config, out=tmp_path / "parts")
    train(config, out=tmp_path / "parts")
    whole, parts = (weights(tmp_path / name) for name in ("whole", "parts"))
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)
    assert (tmp_path / "whole/test.run").read_bytes() == (tmp_path / "parts/test.run").read_bytes()
    whole, parts = (open_variables(checkpoint(tmp_path / name)) for name in ("whole", "parts"))
    assert all(np.array_equal(whole[path], parts[path]) for path in whole)


def test_a_checkpoint_is_opened_with_the_model_that_training_started_from(tiny, base, tmp_path):
    config = tiny("crossencoder", LORA, f"reranker.pretrained={base}", "trainer.niters=1")
    train(config, out=tmp_path / "run")
    merged, last = (opened(tmp_path / "run", weights) for weights in ("best", "iter:1"))
    kept = open_variables(checkpoint(tmp_path / "run"))
    assert set(last.variables) == set(kept) < set(merged.variables) | set(kept)
    for path, variable in last.variables.items():
        np.testing.assert_array_equal(variable, kept[path])
    found = last.tensors()
    before = load_file(base / "model.safetensors")
    assert np.array_equal(found["bert.embeddings.LayerNorm.weight"], before["bert.embeddings.LayerNorm.weight"])
    query = "bert.encoder.layer.0.attention.self.query.weight"
    assert 0 < np.abs(found[query] - before[query]).max() < 0.5
    file = base / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + np.float32(7).tobytes())
    with pytest.raises(StorageError, match="is not the one that training started from"):
        opened(tmp_path / "run", "last")


def test_a_training_starts_from_other_weights_and_is_started_from(tiny, base, tmp_path):
    """`init` gives weights to a model with an adapter; what an adapter trained gives them to one without."""
    train(
        tiny("crossencoder", LORA, f"init.model={base}", "trainer.bertlr=0", "trainer.niters=1"), out=tmp_path / "run"
    )
    before, after = load_file(base / "model.safetensors"), weights(tmp_path / "run")
    still = [name for name in before if "classifier" not in name]
    assert all(np.array_equal(before[name], after[name]) for name in still)
    rates = ("trainer.bertlr=0", "trainer.lr=0", "trainer.niters=1")
    train(tiny("crossencoder", f"init.model={tmp_path / 'run'}", *rates), out=tmp_path / "next")
    found = weights(tmp_path / "next")
    assert all(np.array_equal(after[name], found[name]) for name in after)


def test_a_checkpoint_of_an_adapter_alone_is_nothing_to_start_from(tiny, tmp_path):
    train(tiny("crossencoder", LORA, "trainer.niters=1"), out=tmp_path / "run")
    config = tiny("crossencoder", f"init.model={tmp_path / 'run'}", "init.weights=last")
    with pytest.raises(ConfigError, match="this checkpoint has an adapter alone") as refused:
        train(config, out=tmp_path / "next")
    assert "best" in refused.value.fix


def test_what_peft_could_open_is_kept_and_opens_here(tiny, base, tmp_path):
    """The folder of `peft` as a model: scores of `rerank`, and weights to train from, are those of the merged ones."""
    config = tiny(
        "crossencoder",
        f"reranker.pretrained={base}",
        "reranker.adapter={name: lora, rank: 2, keep: true}",
        "trainer.niters=1",
    )
    train(config, out=tmp_path / "run")
    best = tmp_path / "run/best/ndcg_cut_10"
    again = prepare(tiny("crossencoder", f"reranker.pretrained={best / 'adapter'}")).start.build(9, "float32")
    for found in (again.tensors(), opened(best / "adapter", "best").tensors()):
        for name, values in weights(tmp_path / "run").items():
            np.testing.assert_allclose(found[name], values, atol=1e-6)


@pytest.mark.parametrize("start", [[], ["init.model={base}"]], ids=["random weights", "other weights"])
def test_files_of_peft_need_a_model_that_they_can_name(tiny, base, tmp_path, start):
    config = tiny("crossencoder", "reranker.adapter={name: lora, keep: true}", *(s.format(base=base) for s in start))
    with pytest.raises(ConfigError, match=r"must be that of reranker\.pretrained") as refused:
        train(config, out=tmp_path / "run")
    assert refused.value.where == "reranker.adapter.keep"


TWO_DEVICES = """
import sys
from pathlib import Path
from rankcli.backend import tf
device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
from rankcli.config.load import load_config
from rankcli.verbs.train import train
train(load_config([sys.argv[1]], sys.argv[3:])[0], out=Path(sys.argv[2]))
"""


def test_two_devices_train_as_one_does(tiny, tmp_path):
    still = "reranker.encoder={layers: 1, hidden: 16, heads: 2, intermediate: 32, dropout: 0.0}"
    overrides = [LORA, still, "reranker.dropout=0.0", "trainer.niters=1", "trainer.bertlr=0.1"]
    train(tiny("crossencoder", *overrides), out=tmp_path / "one")
    command = [sys.executable, "-c", TWO_DEVICES, str(tmp_path / "crossencoder.yaml"), str(tmp_path / "two")]
    subprocess.run([*command, *overrides, "trainer.strategy=mirrored"], check=True, cwd=Path(__file__).parents[2])
    one, two = (open_variables(checkpoint(tmp_path / name)) for name in ("one", "two"))
    assert np.abs(one["encoder/layer_0/attention/qkv/kernel/lora_b"]).max() > 0.05
    for path in set(one) - {"classifier/bias"}:  # a softmax over the group does not see it
        np.testing.assert_allclose(two[path], one[path], atol=2e-4)
