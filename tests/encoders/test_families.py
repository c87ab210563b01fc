"""Every family against PyTorch: states, logits and gradients of tiny models; directories read and written."""

from __future__ import annotations

import functools
import json
from types import SimpleNamespace

import golden_families as golden
import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.registry import EXTRACTORS
from rankcli.encoders.build import Pretrained
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.family import ENCODERS, family_of
from rankcli.errors import ConfigError
from rankcli.extractors.base import ExtractorContext
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.crossencoder import CrossEncoder
from rankcli.rerankers.saved import load_reranker, save_reranker, sections_of
from rankcli.shapes import SequenceSpec, StreamSpec

CLASSIFIERS = [name for name, model in golden.MODELS.items() if "true_and_false" not in model]
every = pytest.mark.parametrize("name", CLASSIFIERS)
ALIKE = ("electra", "xlm-roberta", "deberta-v2-other", "modernbert-mean", "albert-groups")  # as others, once compiled
each = pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name not in ALIKE])
layouts = pytest.mark.parametrize("form", ["flat", "packed"])


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    root = tmp_path_factory.mktemp("families")
    return functools.cache(lambda name: golden.written(name, root / name))


@pytest.fixture(scope="module")
def models(directories):
    """Cross-encoders with the golden weights."""
    spec = SequenceSpec("doc", "doc", max(golden.GOLDEN["lengths"]))
    extractor = SimpleNamespace(streams={"doc": StreamSpec("doc", 60)}, fields={"pair": spec})

    @functools.cache
    def opened(name, dtype="float32"):
        given = {"pretrained": Pretrained(directories(name))}
        context = RerankerContext(extractor=extractor, models=given, dtype=dtype, complete=True)
        return CrossEncoder(pretrained="given").build(context)

    return opened


@every
@layouts
def test_logits_and_states_are_those_of_pytorch(models, name, form):
    model, reranker = golden.MODELS[name], models(name)
    layout = golden.laid_out(golden.sequences(name), form)
    np.testing.assert_allclose(reranker.logits(layout, None), model["logits"], atol=1e-5)
    embedded, once, last = (x.numpy() for x in reranker.encoders["encoder"].states(layout, layers=(0, 1, -1)))
    for places, states in zip(layout.places.numpy(), model["states"], strict=False):
        own = places[places >= 0]
        np.testing.assert_allclose(embedded[own, :4], states["embedded"], atol=1e-5)
        np.testing.assert_allclose(once[own, :4], states["after_first_layer"], atol=1e-5)
        np.testing.assert_allclose(last[own], states["last"], atol=1e-5)


@every
@layouts
def test_a_sequence_alone_has_the_logit_of_pytorch(models, name, form):
    for sequence, logit in zip(golden.sequences(name), golden.MODELS[name]["logits"], strict=True):
        np.testing.assert_allclose(models(name).logits(golden.laid_out([sequence], form), None), [logit], atol=1e-5)


@every
@layouts
def test_gradients_are_those_of_pytorch(models, name, form):
    reranker, layout = models(name), golden.laid_out(golden.sequences(name), form)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(reranker.logits(layout, None)))
    gradients = tape.gradient(loss, reranker.variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    golden.check_gradients(reranker, gradients, golden.MODELS[name]["gradients"])


@each
def test_compiled_for_static_shapes_it_computes_the_same(models, name):
    reranker, layout = models(name), golden.laid_out(golden.sequences(name), "packed")
    compiled = tf.function(lambda layout: reranker.logits(layout, None), jit_compile=True)
    np.testing.assert_allclose(compiled(layout), golden.MODELS[name]["logits"], atol=1e-4)


@every
def test_in_bfloat16_it_is_close(models, name):
    layout, exact = golden.laid_out(golden.sequences(name)), np.array(golden.MODELS[name]["logits"])
    coarse = models(name, "bfloat16").logits(layout, None).numpy()
    assert 0 < np.abs(coarse - exact).max() < 0.15


@every
def test_dropout_is_used_in_training_and_depends_on_its_key(models, name):
    layout, reranker = golden.laid_out(golden.sequences(name)), models(name)
    one, again, other = (reranker.logits(layout, Dropout.of(1, step)).numpy() for step in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


@every
def test_what_is_written_is_read_back_and_says_what_was_read(directories, name):
    stored = golden.MODELS[name]["config"]
    family = family_of(stored["model_type"])
    config = family.read(stored, "config.json")
    again = family.write(config)
    assert family.read(again, "config.json") == config
    assert {key: again.get(key, stored[key]) for key in stored} == stored


@every
def test_a_trained_model_is_saved_and_loaded_to_the_bit(directories, name, tmp_path):
    options = EXTRACTORS.get("passage")(maxseqlen=20, maxqlen=4, vocab_size=60)
    extractor = options.build(ExtractorContext(texts=lambda: ("the cat sat on the mat", "dogs run far away") * 3))
    given = CrossEncoder(pretrained=str(directories(name)))
    context = RerankerContext(extractor=extractor, models={"pretrained": Pretrained(directories(name))})
    reranker, layout = given.build(context), golden.laid_out(golden.sequences(name))
    before = loss_of(reranker, layout)
    for step in range(4):
        train(reranker, layout, Dropout.of(1, step))
    assert loss_of(reranker, layout) < 0.95 * before
    save_reranker(reranker, extractor, sections_of(given, options), tmp_path / "model")
    again, _, _ = load_reranker(tmp_path / "model")
    np.testing.assert_array_equal(again.logits(layout, None), reranker.logits(layout, None))
    tensors = reranker.tensors()
    assert all(np.array_equal(value, tensors[key]) for key, value in again.tensors().items())
    settings = json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())
    inputs = family_of(golden.MODELS[name]["config"]["model_type"]).inputs
    assert settings.get("model_input_names", []) == [*inputs] and bool(inputs) == name.startswith("albert")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["architectures"][0].endswith(
        "ForSequenceClassification"
    )


def loss_of(reranker, layout, dropout=None):
    """The squared distances of the logits from 1, 0, 1, 0."""
    return tf.reduce_sum(tf.square(reranker.logits(layout, dropout) - tf.constant([1.0, 0.0, 1.0, 0.0])))


def train(reranker, layout, dropout):
    with tf.GradientTape() as tape:
        loss = loss_of(reranker, layout, dropout)
    gradients = tape.gradient(loss, reranker.variables)
    size = tf.linalg.global_norm([g for g in gradients.values() if g is not None])
    for path, gradient in gradients.items():
        if gradient is not None:
            reranker.variables[path].assign_sub(0.1 * tf.convert_to_tensor(gradient) / size)


@pytest.mark.parametrize("kind", sorted({golden.MODELS[name]["config"]["model_type"] for name in golden.MODELS}))
def test_all_that_is_not_supported_is_one_error(kind):
    content = {"model_type": kind}
    with pytest.raises(ConfigError) as caught:
        family_of(kind).read(content, "model/config.json")
    assert caught.value.where == "model/config.json"
    assert caught.value.what.count("but must be a whole number") >= 4


@every
def test_classes_have_the_names_that_transformers_gives_them(name):
    model = golden.MODELS[name]
    family = family_of(model["config"]["model_type"])
    head = family.head(family.read(model["config"], ""))
    assert [family.architecture, head.architecture] == model["classes"]


def test_every_family_has_golden_values():
    unlike = {"camembert"}  # xlm-roberta under another name
    assert {model["config"]["model_type"] for model in golden.MODELS.values()} | unlike == {*ENCODERS.builtins()}
