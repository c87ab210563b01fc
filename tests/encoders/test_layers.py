"""Stacks of layers on vectors of any kind, restated in NumPy."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.encoders.attention import Attention, Bias
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.layers import Block, Positions, Stack, layer_weights
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.weights import Weight
from rankcli.records.layout import flat, packed
from rankcli.shapes import TokenSequence

LENGTHS, WIDTH, HEADS, INNER = (7, 2, 5), 12, 3, 10
layouts = pytest.mark.parametrize("name", ["flat", "packed"])


class Turned(Positions):
    """Rotary by one angle per head size, and a bias that falls with the distance, by a factor per head and layer."""

    def turned(self, parts, positions):
        angle = 0.3 * tf.cast(positions, tf.float32)[:, None, None, None]
        a, b = tf.split(parts[:, :2], 2, axis=-1)
        turned = tf.concat([a * tf.cos(angle) - b * tf.sin(angle), b * tf.cos(angle) + a * tf.sin(angle)], -1)
        return tf.concat([turned, parts[:, 2:]], 1)

    def bias(self, parameters, path, dropout):
        def logits(query, keys, query_places, key_places, slopes):
            apart = tf.cast(query_places[:, None] - key_places, tf.float32)
            return (slopes[:, None, None] * apart)[None]

        return Bias(logits, (parameters.exact(f"{path}/slopes"),))


PLAIN = Block(activation="relu", epsilon=1e-5)
BLOCKS = {
    "post": PLAIN,
    "pre": dataclasses.replace(PLAIN, place="pre"),
    "rms, gated, no biases": dataclasses.replace(PLAIN, norm="rms", place="pre", biases=False, gated=True),
    "gated post": dataclasses.replace(PLAIN, gated=True, activation="silu"),
    "window": dataclasses.replace(PLAIN, window=1),
    "positions": dataclasses.replace(PLAIN, positions=Turned(), window=2),
}
every = pytest.mark.parametrize("kind", BLOCKS)


def stack_of(block: Block, layers: int = 2) -> tuple[Stack, Parameters]:
    weights = [w for n in range(layers) for w in layer_weights(block, f"part_{n}", WIDTH, INNER)]
    weights += [Weight(f"part_{n}/slopes", (HEADS,), (f"part_{n}.slopes",), "normal") for n in range(layers)]
    parameters = Parameters(weights, scale=0.4)
    random = np.random.default_rng(2)
    for variable in parameters.variables.values():
        variable.assign_add(random.normal(0, 0.2, variable.shape))
    return Stack(parameters, [(f"part_{n}", block) for n in range(layers)]), parameters


def laid_out(name):
    parts = [TokenSequence(*np.zeros((3, n), np.int32)) for n in LENGTHS]
    (layout,) = flat([parts], 4, 0) if name == "flat" else packed([parts], 4, 9, 0)
    return tf.nest.map_structure(tf.constant, layout)


def vectors_of(layout) -> tuple[np.ndarray, list[np.ndarray]]:
    """Random vectors for all places, and where those of each sequence are."""
    vectors = np.random.default_rng(6).normal(size=(int(tf.size(layout.ids)), WIDTH)).astype(np.float32)
    places = layout.places.numpy()
    return vectors, [row[row >= 0] for row in places[: len(LENGTHS)]]


def restated(x: np.ndarray, w: dict[str, np.ndarray], path: str, block: Block) -> np.ndarray:
    """One layer over one sequence, head by head, in float64."""

    def dense(part, value):
        bias = w.get(f"{path}/{part}/bias", 0)
        return value @ w[f"{path}/{part}/kernel"] + bias

    def norm(part, value):
        if block.norm == "rms":
            return value / np.sqrt((value**2).mean(-1, keepdims=True) + 1e-5) * w[f"{path}/{part}/gamma"]
        centred = value - value.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * w[f"{path}/{part}/gamma"] + w.get(f"{path}/{part}/beta", 0)

    def attention(value):
        qkv = dense("attention/qkv", value).reshape(len(value), 3, HEADS, WIDTH // HEADS)
        place, found = np.arange(len(value)), []
        apart = place[:, None] - place
        for head in range(HEADS):
            query, key, val = (qkv[:, n, head] for n in range(3))
            if block.positions:
                query, key = turned(query, place), turned(key, place)
            logits = query @ key.T / math.sqrt(WIDTH // HEADS)
            if block.positions:
                logits = logits + w[f"{path}/slopes"][head] * apart
            if block.window is not None:
                logits = np.where(abs(apart) <= block.window, logits, -np.inf)
            shares = np.exp(logits)
            found.append(shares / shares.sum(1, keepdims=True) @ val)
        return dense("attention/output", np.concatenate(found, 1))

    def forward(value):
        inner = dense("intermediate", value)
        first, gate = (inner[:, :INNER], inner[:, INNER:]) if block.gated else (inner, 1)
        activated = np.maximum(first, 0) if block.activation == "relu" else first / (1 + np.exp(-first))
        return dense("output", activated * gate)

    if block.place == "pre":
        x = x + attention(norm("attention/layer_norm", x))
        return x + forward(norm("layer_norm", x))
    x = norm("attention/layer_norm", x + attention(x))
    return norm("layer_norm", x + forward(x))


def turned(x: np.ndarray, place: np.ndarray) -> np.ndarray:
    angle, half = 0.3 * place[:, None], x.shape[1] // 2
    a, b = x[:, :half], x[:, half:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], 1)


@every
@layouts
def test_layers_are_the_formula_for_each_sequence_alone(kind, name):
    stack, parameters = stack_of(BLOCKS[kind])
    layout = laid_out(name)
    vectors, where = vectors_of(layout)
    given, once, twice = stack(tf.constant(vectors), Attention(layout, HEADS), keep=(0, 1, -1))
    np.testing.assert_array_equal(given, vectors)
    weights = {path: v.numpy().astype(np.float64) for path, v in parameters.variables.items()}
    for places in where:
        first = restated(vectors[places].astype(np.float64), weights, "part_0", BLOCKS[kind])
        np.testing.assert_allclose(once.numpy()[places], first, atol=2e-5)
        second = restated(first, weights, "part_1", BLOCKS[kind])
        np.testing.assert_allclose(twice.numpy()[places], second, atol=5e-5)


@every
@layouts
def test_first_tokens_are_those_of_the_whole_stack(kind, name):
    stack, _ = stack_of(BLOCKS[kind])
    layout = laid_out(name)
    vectors, where = vectors_of(layout)
    (states,) = stack(tf.constant(vectors), Attention(layout, HEADS))
    first = stack.first(tf.constant(vectors), Attention(layout, HEADS)).numpy()
    np.testing.assert_allclose(first[: len(where)], states.numpy()[[places[0] for places in where]], atol=2e-5)


def test_layers_that_are_not_there_cannot_be_kept():
    stack, _ = stack_of(PLAIN)
    layout = laid_out("flat")
    with pytest.raises(IndexError):
        stack(tf.constant(vectors_of(layout)[0]), Attention(layout, HEADS), keep=(3,))


@every
def test_every_variable_of_a_layer_gets_a_gradient(kind):
    stack, parameters = stack_of(BLOCKS[kind])
    layout = laid_out("flat")
    with tf.GradientTape() as tape:
        (states,) = stack(tf.constant(vectors_of(layout)[0]), Attention(layout, HEADS), Dropout.of(1, 2))
        loss = tf.reduce_sum(tf.sin(states))
    used = {p: v for p, v in parameters.variables.items() if BLOCKS[kind].positions or not p.endswith("slopes")}
    gradients = tape.gradient(loss, used)
    assert [path for path, g in gradients.items() if g is None or not np.any(tf.convert_to_tensor(g))] == []
