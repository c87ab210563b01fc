"""Low-rank adapters: what is trained, computed, saved and merged, over every family."""

from __future__ import annotations

import json
import re

import golden_families as golden
import numpy as np
import pytest
from adapted_families import FAMILIES, shaken

from rankcli.adapters.lora import Lora
from rankcli.backend import tf
from rankcli.encoders.build import Pretrained
from rankcli.encoders.dropout import Dropout
from rankcli.errors import ConfigError
from rankcli.rerankers.biencoder import BiEncoder
from rankcli.text.peft import merged

every = pytest.mark.parametrize("name", FAMILIES)
STILL = Dropout.of(0, 0)  # training with rates of 0, as the golden models have


@every
def test_it_starts_at_the_scores_of_the_model_and_trains_only_products_and_the_classifier(build, name):
    layout, adapted = golden.laid_out(golden.sequences(name)), build(name, Lora(rank=2))
    plain = build(name)
    for dropout in (None, STILL):
        np.testing.assert_array_equal(adapted.logits(layout, dropout), plain.logits(layout, dropout))
    head = {path for path in plain.variables if not path.startswith("encoder/") or "/pooler/" in path}
    own = {path for path in adapted.variables if path.endswith(("lora_a", "lora_b"))}
    assert own and set(adapted.variables) == head | own
    assert {w.path for w in adapted.weights} == {w.path for w in plain.weights}


@every
def test_trained_merged_and_saved_it_computes_one_thing(build, name):
    """Separate products (training), merged kernels (prediction), and the merged weights in a model without adapter."""
    adapter = Lora(rank=2, alpha=3, targets=r"query|key|Wqkv|[qkv]_lin|attn\.[qk]$|_proj$|dense|ffn|Wo|lin1|attn\.o")
    layout, adapted = golden.laid_out(golden.sequences(name)), shaken(build(name, adapter))
    merged, before = build(name), build(name).logits(layout, None).numpy()
    merged.assign(adapted.tensors())
    found = adapted.logits(layout, None)
    assert np.abs(found - before).max() > 1e-3
    np.testing.assert_allclose(adapted.logits(layout, STILL), found, atol=2e-5)
    np.testing.assert_array_equal(merged.logits(layout, None), found)


@every
def test_gradients_of_the_products_are_those_of_the_merged_kernels(build, name):
    """d/dA and d/dB by the chain rule, from the gradients that a model with the merged weights has."""
    layout, adapted = golden.laid_out(golden.sequences(name)), shaken(build(name, Lora(rank=2, alpha=4)))
    merged = build(name)
    merged.assign(adapted.tensors())
    parts, whole = (gradients(model, layout) for model in (adapted, merged))
    parameters = adapted.parameters["encoder"]
    assert parameters.targets
    for path in parameters.targets:
        thirds = np.split(whole[path], len(next(w for w in merged.weights if w.path == path).names), axis=-1)
        d_a = np.split(parts[f"{path}/lora_a"], len(parameters.targets[path]), axis=-1)
        for n, (place, (a, b)) in enumerate(parameters.matrices(path).items()):
            close(d_a[n], 2 * thirds[place] @ b.T)
            close(parts[f"{path}/lora_b"][n], 2 * a.T @ thirds[place])


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max() + 1e-7)


def gradients(model, layout):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model.logits(layout, STILL)))
    found = tape.gradient(loss, model.variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return {path: tf.convert_to_tensor(value).numpy() for path, value in found.items()}


def test_dropout_is_on_the_input_of_the_product_alone(build):
    layout, adapted = golden.laid_out(golden.sequences("bert")), build("bert", Lora(rank=2, dropout=0.5))
    plain = build("bert").logits(layout, STILL)
    np.testing.assert_allclose(adapted.logits(layout, STILL), plain, atol=1e-6)  # B is 0, whatever is dropped
    shaken(adapted)
    one, again, other = (adapted.logits(layout, Dropout.of(1, step)).numpy() for step in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


def test_targets_are_modules_by_their_stored_names(build):
    adapted = build("bert", Lora(rank=3, targets=r"layer\.1\.attention\.self\.value$"))
    assert adapted.parameters["encoder"].targets == {"encoder/layer_1/attention/qkv/kernel": [2]}
    a = adapted.variables["encoder/layer_1/attention/qkv/kernel/lora_a"]
    assert a.shape == (16, 3) and 0.6 < np.std(a) * (3 * 16) ** 0.5 < 1.2
    before, after = build("bert").tensors(), shaken(adapted).tensors()
    changed = [name for name in before if not np.array_equal(before[name], after[name])]
    assert changed == ["bert.encoder.layer.1.attention.self.value.weight"]
    with pytest.raises(ConfigError, match=r"'nothing' is in no name of a module: .*attention.self.query") as refused:
        build("bert", Lora(targets="nothing"))
    assert refused.value.where == "reranker.adapter.targets"


def test_given_weights_are_what_it_computes_with(build):
    adapted, source = shaken(build("bert", Lora())), build("bert")
    adapted.assign(source.tensors())
    for name, value in adapted.tensors().items():
        np.testing.assert_array_equal(value, source.tensors()[name])


@pytest.mark.parametrize("name", ["bert", "distilbert", "modernbert-mean", "roberta"])
def test_the_files_of_peft_have_every_product_and_what_is_trained_as_a_whole(build, directories, name, tmp_path):
    adapted = shaken(build(name, Lora(rank=2, alpha=3, keep=True)))
    adapted.adapter.save(tmp_path, adapted.parameters)
    content = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    saved = {"bert": ["pooler", "classifier"], "distilbert": ["pre_classifier", "classifier"]}
    saved |= {"modernbert-mean": ["head", "classifier"], "roberta": ["classifier"]}
    assert content["modules_to_save"] == saved[name] and content["r"] == 2 and content["lora_alpha"] == 3
    assert content["base_model_name_or_path"] == str(directories[name])
    again = merged(tmp_path / "adapter", lambda name: pytest.fail("its directory is there"))
    stored = Pretrained(again).stored
    for key, value in adapted.tensors().items():
        np.testing.assert_allclose(stored[key], value, atol=1e-6)


def test_without_keep_there_are_no_files_of_peft(build, tmp_path):
    adapted = build("bert", Lora())
    adapted.adapter.save(tmp_path, adapted.parameters)
    assert not (tmp_path / "adapter").exists()


def test_a_regular_expression_that_is_none_is_refused():
    with pytest.raises(ValueError, match=re.escape("targets")):
        Lora(targets="(")


def test_an_adapter_and_frozen_layers_are_two_ways_to_say_one_thing():
    with pytest.raises(ValueError, match="leave `frozen` out"):
        BiEncoder(frozen=2, adapter=Lora())
