"""T5's encoder: states of PyTorch, also beside a decoder; buckets; our classifier over it; what is refused."""

from __future__ import annotations

import json
from types import SimpleNamespace

import golden_families as golden
import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.registry import EXTRACTORS, RERANKERS
from rankcli.encoders import attention
from rankcli.encoders.build import Pretrained, build_encoder
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.family import family_of
from rankcli.encoders.relative import buckets_of
from rankcli.errors import ConfigError
from rankcli.extractors.base import ExtractorContext
from rankcli.records.layout import flat, packed
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.saved import load_reranker, save_reranker, sections_of
from rankcli.shapes import SequenceSpec, StreamSpec, TokenSequence
from rankcli.text.weights import read_tensors, write_tensors

STORED = golden.MODELS["t5"]["config"]
FAMILY = family_of("t5")
CLASSIFIERS = json.loads((golden.FOLDER / "t5.json").read_text())
every = pytest.mark.parametrize("name", CLASSIFIERS)
layouts = pytest.mark.parametrize("form", ["flat", "packed"])


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    """Encoder and decoder, as in most checkpoints, with our classifier beside them."""
    root = tmp_path_factory.mktemp("t5")
    for name in CLASSIFIERS:
        tensors = dict(read_tensors(golden.written(name, root / name)))
        tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"]
        own = {
            f"2_Dense.linear.{part}": golden.weight(f"2_Dense.linear.{part}", shape) for part, shape in SHAPES.items()
        }
        write_tensors(root / name, tensors | own)
    return root


SHAPES = {"weight": (1, 16), "bias": (1,)}


def crossencoder(directory, dtype="float32"):
    spec = SequenceSpec("doc", "doc", 21)
    extractor = SimpleNamespace(streams={"doc": StreamSpec("doc", 60)}, fields={"pair": spec})
    given = {"pretrained": Pretrained(directory)}
    context = RerankerContext(extractor=extractor, models=given, dtype=dtype, complete=True)
    return RERANKERS.get("crossencoder")(pretrained="given").build(context)


@every
@layouts
def test_states_logits_and_gradients_are_those_of_pytorch(directories, name, form):
    reranker, layout = crossencoder(directories / name), golden.laid_out(golden.sequences(name), form)
    embedded, once, last = (x.numpy() for x in reranker.encoders["encoder"].states(layout, layers=(0, 1, -1)))
    for places, states in zip(layout.places.numpy(), golden.MODELS[name]["states"], strict=False):
        own = places[places >= 0]
        np.testing.assert_allclose(embedded[own, :4], states["embedded"], atol=1e-5)
        np.testing.assert_allclose(once[own, :4], states["after_first_layer"], atol=1e-5)
        np.testing.assert_allclose(last[own], states["last"], atol=1e-5)
    with tf.GradientTape() as tape:
        logits = reranker.logits(layout, None)
        loss = tf.reduce_sum(tf.square(logits))
    np.testing.assert_allclose(logits, CLASSIFIERS[name]["logits"], atol=1e-5)
    golden.check_gradients(reranker, tape.gradient(loss, reranker.variables), CLASSIFIERS[name]["gradients"])


@every
@layouts
def test_a_sequence_alone_has_the_logit_of_pytorch(directories, name, form):
    reranker = crossencoder(directories / name)
    for sequence, logit in zip(golden.sequences(name), CLASSIFIERS[name]["logits"], strict=True):
        np.testing.assert_allclose(reranker.logits(golden.laid_out([sequence], form), None), [logit], atol=1e-5)


@every
def test_compiled_it_computes_the_same_and_in_bfloat16_nearly(directories, name):
    layout, expected = golden.laid_out(golden.sequences(name), "packed"), CLASSIFIERS[name]["logits"]
    reranker = crossencoder(directories / name)
    compiled = tf.function(lambda layout: reranker.logits(layout, None), jit_compile=True)
    np.testing.assert_allclose(compiled(layout), expected, atol=1e-4)
    coarse = crossencoder(directories / name, "bfloat16").logits(layout, None)
    assert 0 < np.abs(coarse - expected).max() < 0.15


def test_distances_fall_into_the_buckets_of_pytorch():
    expected = golden.GOLDEN["buckets"]["t5_and_mpnet_32_128_from_-600"]
    np.testing.assert_array_equal(buckets_of(np.arange(-600, 601), 32, 128), expected)


@layouts
def test_long_sequences_in_blocks_have_the_states_and_gradients_of_the_whole(directories, form, monkeypatch):
    config = FAMILY.read(STORED | {"n_positions": 1000}, "")
    encoder = build_encoder(config, Pretrained(directories / "t5"))
    ids = [np.arange(n, dtype=np.int32) * 7 % 50 + 5 for n in (70, 150)]
    parts = [TokenSequence(x, 0 * x, 0 * x) for x in ids]
    (layout,) = flat([parts], 2, 0) if form == "flat" else packed([parts], 2, 240, 0)
    layout = tf.nest.map_structure(tf.constant, layout)
    real = layout.places.numpy()[layout.places.numpy() >= 0]

    def computed():
        with tf.GradientTape() as tape:
            states = tf.gather(encoder.states(layout)[0], real)
            loss = tf.reduce_sum(tf.sin(states))
        return [states, *map(tf.convert_to_tensor, tape.gradient(loss, [*encoder.parameters.variables.values()]))]

    whole = computed()
    monkeypatch.setattr(attention, "WHOLE", 64)
    for found, expected in zip(tf.function(computed)(), whole, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4 * (1 + np.abs(expected).max()))


@pytest.mark.parametrize("kind", ["crossencoder", "biencoder"])
def test_a_trained_model_is_saved_and_loaded_to_the_bit(directories, kind, tmp_path):
    maxima = {"crossencoder": {"maxseqlen": 20, "maxqlen": 4}, "biencoder": {"maxqlen": 8, "maxdoclen": 20}}[kind]
    options = EXTRACTORS.get(RERANKERS.get(kind).default_extractor)(vocab_size=60, **maxima)
    extractor = options.build(ExtractorContext(texts=lambda: ("the cat sat on the mat", "dogs run far away") * 3))
    chosen = RERANKERS.get(kind)(pretrained=str(directories / "t5"))
    given = {"pretrained": Pretrained(directories / "t5")}
    reranker = chosen.build(RerankerContext(extractor=extractor, models=given))
    encoder, layout = reranker.encoders["encoder"], golden.laid_out(golden.sequences("t5"))

    def loss(dropout=None):
        return tf.reduce_sum(tf.square(encoder.pooled(layout, "mean", dropout)))

    before = float(loss())
    for step in range(4):
        with tf.GradientTape() as tape:
            value = loss(Dropout.of(1, step))
        gradients = tape.gradient(value, encoder.parameters.variables)
        for path, gradient in gradients.items():
            encoder.parameters.variables[path].assign_sub(0.01 * tf.convert_to_tensor(gradient))
    assert loss() < 0.95 * before
    save_reranker(reranker, extractor, sections_of(chosen, options), tmp_path / "model")
    again, _, _ = load_reranker(tmp_path / "model")
    tensors = reranker.tensors()
    assert {key for key in tensors if not key.startswith("encoder.block.")} - {
        "2_Dense.linear.weight",
        "2_Dense.linear.bias",
    } == {
        "shared.weight",
        "encoder.final_layer_norm.weight",
    }
    assert all(np.array_equal(value, tensors[key]) for key, value in again.tensors().items())
    found = again.encoders["encoder"].pooled(layout, "mean")
    np.testing.assert_array_equal(found, encoder.pooled(layout, "mean"))
    assert json.loads((tmp_path / "model" / "config.json").read_text())["architectures"] == ["T5EncoderModel"]


@every
def test_what_is_written_is_read_back_and_says_what_was_read(name):
    stored = golden.MODELS[name]["config"]
    config = FAMILY.read(stored, "config.json")
    again = FAMILY.write(config)
    assert FAMILY.read(again, "config.json") == config
    assert {key: again.get(key, stored[key]) for key in stored} == stored
    assert (config.head_width * config.heads, config.hidden_size) == (12, 16)


def test_absent_constants_take_their_known_values():
    needed = ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads")
    config = FAMILY.read({"model_type": "t5", **{key: STORED[key] for key in needed}}, "")
    assert (config.buckets, config.farthest, config.max_positions, config.pad_token_id) == (32, 128, 512, 0)
    assert (config.dropout, config.attention_dropout, config.layer_norm_eps) == (0.1, 0.1, 1e-6)
    assert (config.forward, config.hidden_act) == ("relu", "relu")


def test_all_that_is_not_supported_is_one_error():
    wrong = {"feed_forward_proj": "gated-relu", "relative_attention_num_buckets": 3, "d_kv": 0, "num_layers": "6"}
    with pytest.raises(ConfigError) as caught:
        FAMILY.read(STORED | wrong, "model/config.json")
    assert caught.value.where == "model/config.json"
    assert caught.value.what == (
        "d_kv is 0, but must be a whole number >= 1; num_layers is '6', but must be a whole number >= 1; "
        "feed_forward_proj 'gated-relu': supported are gelu, gelu_new, relu, silu, gated-gelu, gated-silu; "
        "relative_attention_num_buckets must be at least 4"
    )
    with pytest.raises(ConfigError, match="relative_attention_max_distance must be above a quarter of the buckets"):
        FAMILY.read(STORED | {"relative_attention_max_distance": 2}, "")


def test_it_has_no_pooler():
    with pytest.raises(ConfigError, match="pooling: t5 encoders have no pooler"):
        FAMILY.weights(FAMILY.read(STORED, ""), pooler=True)
