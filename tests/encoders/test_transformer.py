"""The transformer encoder: arithmetic, padding, pooling, dtypes, ways to run, weights."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.encoders import parameters
from rankcli.encoders.base import Encoder
from rankcli.encoders.build import build_encoder
from rankcli.encoders.config import EncoderConfig
from rankcli.encoders.dropout import Dropout
from rankcli.errors import ConfigError, StorageError

SEQUENCES = ([5, 6, 7, 8, 9, 3], [1], [2, 30, 31, 32])


def lively(config: EncoderConfig, seed: int = 3, dtype: str = "float32", pooler: bool = False) -> Encoder:
    """An encoder none of whose weights is at 0 or 1, where mistakes would hide."""
    encoder = build_encoder(config, dtype=dtype, pooler=pooler)
    random = np.random.default_rng(seed)
    encoder.parameters.assign(
        {n: v + random.normal(0, 0.3, v.shape).astype(np.float32) for n, v in encoder.parameters.tensors().items()}
    )
    return encoder


ACTIVATIONS = {
    "gelu": lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_new": lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
}


def norm(x, weights, name, eps):
    centred = x - x.mean(-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return centred / scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def restated(tokens: list[int], weights: dict[str, np.ndarray], config: EncoderConfig) -> np.ndarray:
    """BERT from its paper, one sequence, head by head in float64, from the tensors as Hugging Face stores them."""
    weights = {name: value.astype(np.float64) for name, value in weights.items()}
    segments = [0] * ((len(tokens) + 1) // 2) + [1] * (len(tokens) // 2)
    tables = [f"embeddings.{part}_embeddings.weight" for part in ("word", "position", "token_type")]
    rows = (tokens, list(range(len(tokens))), segments)
    x = sum(weights[table][index] for table, index in zip(tables, rows, strict=True))
    x = norm(x, weights, "embeddings.LayerNorm", config.layer_norm_eps)
    for n in range(config.layers):
        at, width, parts = f"encoder.layer.{n}", config.hidden_size // config.heads, []

        def dense(name, value, at=at):
            return value @ weights[f"{at}.{name}.weight"].T + weights[f"{at}.{name}.bias"]

        query, key, value = (dense(f"attention.self.{name}", x) for name in ("query", "key", "value"))
        for head in range(config.heads):
            own = slice(head * width, (head + 1) * width)
            shares = np.exp(query[:, own] @ key[:, own].T / math.sqrt(width))
            parts.append(shares / shares.sum(1, keepdims=True) @ value[:, own])
        attended = dense("attention.output.dense", np.concatenate(parts, 1))
        x = norm(x + attended, weights, f"{at}.attention.output.LayerNorm", config.layer_norm_eps)
        inner = ACTIVATIONS[config.hidden_act](dense("intermediate.dense", x))
        x = norm(x + dense("output.dense", inner), weights, f"{at}.output.LayerNorm", config.layer_norm_eps)
    return x


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_states_follow_the_paper(small, lay_out, activation):
    config = dataclasses.replace(small, hidden_act=activation)
    encoder = lively(config)
    states, tensors = encoder.tokens(lay_out(SEQUENCES))[0].numpy(), encoder.parameters.tensors()
    for row, tokens in zip(states, SEQUENCES, strict=True):
        np.testing.assert_allclose(row[: len(tokens)], restated(tokens, tensors, config), atol=1e-5)


def test_a_sequence_does_not_depend_on_padding_or_neighbours(small, lay_out):
    encoder = lively(small)
    together = encoder.tokens(lay_out(SEQUENCES, width=16))[0].numpy()
    for row, tokens in zip(together, SEQUENCES, strict=True):
        alone = encoder.tokens(lay_out([tokens]))[0].numpy()[0]
        np.testing.assert_allclose(row[: len(tokens)], alone, atol=1e-5)


def test_a_row_of_padding_gives_finite_numbers(small, lay_out):
    encoder, layout = lively(small), lay_out([[4, 5], []])
    assert np.isfinite(encoder.tokens(layout)[0]).all()
    assert np.isfinite(encoder.pooled(layout, "cls")).all()
    np.testing.assert_array_equal(encoder.pooled(layout, "mean")[1], np.zeros(12))


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_first_token_alone_equals_the_full_computation(small, lay_out, layers):
    encoder = lively(dataclasses.replace(small, layers=layers), pooler=True)
    layout, weights = lay_out(SEQUENCES, width=9), encoder.parameters.tensors()
    first = encoder.tokens(layout)[0].numpy()[:, 0]
    np.testing.assert_allclose(encoder.pooled(layout, "cls"), first, atol=1e-5)
    pooled = np.tanh(first @ weights["pooler.dense.weight"].T + weights["pooler.dense.bias"])
    np.testing.assert_allclose(encoder.pooled(layout, "pooler"), pooled, atol=1e-5)


def test_mean_is_over_tokens_only(small, lay_out):
    encoder, layout = lively(small), lay_out(SEQUENCES, width=11)
    states = encoder.tokens(layout)[0].numpy()
    means = [row[: len(tokens)].mean(0) for row, tokens in zip(states, SEQUENCES, strict=True)]
    np.testing.assert_allclose(encoder.pooled(layout, "mean"), means, atol=1e-5)


def test_without_layers_the_states_are_the_normalised_embeddings(small, lay_out):
    config = dataclasses.replace(small, layers=0)
    encoder = lively(config)
    states = encoder.tokens(lay_out([[7, 8, 9]]))[0][0]
    np.testing.assert_allclose(states, restated([7, 8, 9], encoder.parameters.tensors(), config), atol=1e-5)
    assert all(path.startswith("encoder/embeddings/") for path in encoder.parameters.variables)


def test_electra_projects_narrow_embeddings(small, lay_out):
    config = dataclasses.replace(small, kind="electra", embedding_size=4, layers=0)
    encoder = lively(config)
    weights = encoder.parameters.tensors()
    inner = restated([7, 8, 9], weights, config)
    expected = inner @ weights["embeddings_project.weight"].T + weights["embeddings_project.bias"]
    np.testing.assert_allclose(encoder.tokens(lay_out([[7, 8, 9]]))[0][0], expected, atol=1e-5)


def test_electra_has_no_pooler(small):
    with pytest.raises(ConfigError, match="electra encoders have no pooler"):
        build_encoder(dataclasses.replace(small, kind="electra"), pooler=True)


def test_bfloat16_is_close_to_float32(small, lay_out):
    exact, rough = lively(small), lively(small, dtype="bfloat16")
    layout = lay_out(SEQUENCES)
    states, mask = rough.tokens(layout)
    assert states.dtype == tf.bfloat16
    assert {variable.dtype for variable in rough.parameters.variables.values()} == {tf.float32}
    difference = np.abs(exact.tokens(layout)[0].numpy() - tf.cast(states, tf.float32).numpy())[mask.numpy()]
    assert 0 < difference.max() < 0.1
    for pooling in ("cls", "mean"):
        pooled = rough.pooled(layout, pooling)
        assert pooled.dtype == tf.float32
        np.testing.assert_allclose(pooled, exact.pooled(layout, pooling), atol=0.1)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 0.02)])
def test_frozen_weights_give_the_same_and_are_constants(small, lay_out, monkeypatch, dtype, tolerance):
    layout = lay_out(SEQUENCES)

    def pooled(encoder):
        return tf.function(lambda: encoder.pooled(layout, "pooler"))

    def constants(function):
        nodes = function.get_concrete_function().graph.as_graph_def().node
        return sum(node.op == "Const" and len(node.attr["value"].tensor.tensor_shape.dim) == 2 for node in nodes)

    encoder = lively(small, dtype=dtype, pooler=True)
    expected, free = pooled(encoder)(), constants(pooled(encoder))
    encoder.parameters.freeze()
    frozen = pooled(encoder)
    np.testing.assert_allclose(frozen(), expected, atol=tolerance)
    assert constants(frozen) >= free + 4 * small.layers + 1
    encoder.parameters.variables["encoder/pooler/kernel"].assign_add(
        tf.ones_like(encoder.parameters.variables["encoder/pooler/kernel"])
    )
    np.testing.assert_allclose(frozen(), expected, atol=tolerance)
    large = lively(small, dtype=dtype, pooler=True)
    monkeypatch.setattr(parameters, "CONSTANT_BYTES", 1000)
    large.parameters.freeze()
    assert constants(pooled(large)) == free


@pytest.mark.parametrize("pooling", ["cls", "mean", "pooler"])
def test_compiled_and_dynamic_shapes_give_what_eager_gives(small, lay_out, pooling):
    encoder, layout = lively(small, pooler=True), lay_out(SEQUENCES)
    expected = encoder.pooled(layout, pooling)

    def pooled(*parts):
        return encoder.pooled(type(layout)(*parts), pooling)

    compiled = tf.function(pooled, jit_compile=True)
    dynamic = tf.function(pooled, input_signature=[tf.TensorSpec([None, None], tf.int32)] * 6)
    np.testing.assert_allclose(compiled(*layout[:6]), expected, atol=1e-5)
    np.testing.assert_allclose(dynamic(*layout[:6]), expected, atol=1e-5)
    assert dynamic(*lay_out([[1, 2]])[:6]).shape == (1, 12)


def test_every_replica_computes_the_same(small, lay_out):
    layout = lay_out(SEQUENCES)
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    strategy = tf.distribute.MirroredStrategy(devices)
    with strategy.scope():
        mirrored = build_encoder(small)
    plain = lively(small)
    mirrored.parameters.assign(plain.parameters.tensors())
    outputs = strategy.run(tf.function(lambda: mirrored.pooled(layout, "cls")))
    for output in strategy.experimental_local_results(outputs):
        np.testing.assert_allclose(output, plain.pooled(layout, "cls"), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_variable_gets_a_gradient(small, lay_out, dtype):
    encoder, layout = lively(small, dtype=dtype, pooler=True), lay_out(SEQUENCES)
    with tf.GradientTape() as tape:
        vector = encoder.pooled(layout, "pooler", Dropout.of(1, step=0))
        loss = tf.reduce_sum(tf.square(vector))
    gradients = tape.gradient(loss, list(encoder.parameters.variables.values()))
    norms = [float(tf.norm(tf.convert_to_tensor(gradient))) for gradient in gradients]
    assert all(0 < size < math.inf for size in norms), dict(zip(encoder.parameters.variables, norms, strict=True))


def test_dropout_is_the_key_s_alone_and_off_without_one(small, lay_out):
    encoder, layout = lively(small), lay_out(SEQUENCES)

    def states(dropout):
        return encoder.tokens(layout, dropout)[0].numpy()

    key = Dropout.of(1, step=5)
    np.testing.assert_array_equal(states(key), states(key))
    assert not np.array_equal(states(key), states(Dropout.of(1, step=6)))
    assert not np.array_equal(states(key), states(None))
    dry = build_encoder(dataclasses.replace(small, dropout=0.0, attention_dropout=0.0))
    # not the same bits: without one, the norms are those of prediction
    np.testing.assert_allclose(dry.tokens(layout, key)[0], dry.tokens(layout)[0], rtol=1e-5, atol=1e-6)


def test_the_last_layer_drops_what_the_others_would(small, lay_out, monkeypatch):
    """Of a whole layer the first token's state is that of a layer for first tokens alone, also where shares do not add
    up to 1."""
    encoder, layout = lively(small), lay_out(SEQUENCES)
    monkeypatch.setattr(Dropout, "apply", lambda self, x, rate: 1.5 * x)
    key = Dropout.of(1, step=0)
    states, _ = encoder.tokens(layout, key)
    np.testing.assert_allclose(encoder.pooled(layout, "cls", key), states[:, 0], atol=1e-5)
    assert np.abs(encoder.pooled(layout, "cls") - states[:, 0]).max() > 0.01


def test_dropout_masks_differ_between_places_of_a_layer_and_between_layers(small, lay_out, monkeypatch):
    keys = []
    monkeypatch.setattr(Dropout, "apply", lambda self, x, rate: keys.append(tuple(self.seed.numpy())) or x)
    build_encoder(small).tokens(lay_out(SEQUENCES), Dropout.of(1, step=0))
    assert len(keys) == 1 + 3 * small.layers == len(set(keys))


def test_initial_values_depend_on_seed_and_path_alone(small):
    deep, shallow = build_encoder(small), build_encoder(dataclasses.replace(small, layers=1), pooler=True)
    shared = deep.parameters.variables.keys() & shallow.parameters.variables.keys()
    assert "encoder/layer_0/attention/qkv/kernel" in shared
    for path in shared:
        np.testing.assert_array_equal(deep.parameters.variables[path], shallow.parameters.variables[path])
    kernels = [deep.parameters.variables[f"encoder/layer_{n}/attention/qkv/kernel"].numpy() for n in range(2)]
    assert not np.array_equal(*kernels)
    other = build_encoder(small, seed=43).parameters.variables["encoder/layer_0/attention/qkv/kernel"].numpy()
    assert not np.array_equal(kernels[0], other)


def test_initial_values_are_truncated_normal(small):
    encoder = build_encoder(dataclasses.replace(small, vocab_size=5000, initializer_range=0.5))
    words = encoder.parameters.variables["encoder/embeddings/word_embeddings"].numpy()
    assert abs(words).max() <= 1.0
    assert words.mean() == pytest.approx(0, abs=0.01)
    assert words.std() == pytest.approx(0.5 * 0.8796, abs=0.01)  # cut off at two deviations, it is that much narrower
    assert (encoder.parameters.variables["encoder/layer_0/layer_norm/gamma"].numpy() == 1).all()
    assert (encoder.parameters.variables["encoder/layer_0/attention/qkv/bias"].numpy() == 0).all()


def test_paths_name_the_variables(small):
    variables = build_encoder(small, pooler=True).parameters.variables
    assert [variable.name for variable in variables.values()] == [f"{path}:0" for path in variables]
    assert all(path.startswith("encoder/") and variable.trainable for path, variable in variables.items())
    assert len(variables) == 5 + 2 * 12 + 2


def test_tensors_have_hugging_face_s_names_and_orientation(small):
    parameters = lively(small).parameters
    tensors, qkv = parameters.tensors(), parameters.variables["encoder/layer_1/attention/qkv/kernel"].numpy()
    assert tensors["encoder.layer.0.intermediate.dense.weight"].shape == (20, 12)
    for n, part in enumerate(("query", "key", "value")):
        stored = tensors[f"encoder.layer.1.attention.self.{part}.weight"]
        np.testing.assert_array_equal(stored, qkv[:, 12 * n : 12 * (n + 1)].T)
    assert len(tensors) == 5 + 2 * 16


def test_assign_takes_back_what_tensors_gave(small):
    source, target = lively(small, seed=1, pooler=True), build_encoder(small, pooler=True)
    target.parameters.assign(source.parameters.tensors() | {"embeddings.position_ids": np.arange(16)[None]})
    for path, variable in source.parameters.variables.items():
        np.testing.assert_array_equal(target.parameters.variables[path], variable)


def test_assign_names_all_that_does_not_fit_and_sets_nothing(small):
    encoder = build_encoder(small)
    tensors = {name: value + 1 for name, value in encoder.parameters.tensors().items()}
    del tensors["encoder.layer.1.attention.self.key.bias"]
    tensors["encoder.layer.2.output.dense.bias"] = np.zeros(12, np.float32)
    tensors["embeddings.word_embeddings.weight"] = np.zeros((41, 12), np.float32)
    before = encoder.parameters.tensors()
    with pytest.raises(StorageError) as caught:
        encoder.parameters.assign(tensors)
    assert caught.value.what == (
        "weights do not fit the encoder: encoder.layer.1.attention.self.key.bias is missing; "
        "encoder.layer.2.output.dense.bias is not a weight of this encoder; "
        "embeddings.word_embeddings.weight has shape [41, 12], not [40, 12]"
    )
    for name, value in encoder.parameters.tensors().items():
        np.testing.assert_array_equal(value, before[name])
