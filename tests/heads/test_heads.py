"""Each head against a second statement in NumPy, at its start and after its weights have moved."""

from __future__ import annotations

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.registry import HEADS
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.parameters import Parameters

X = np.random.default_rng(1).standard_normal((5, 6)).astype(np.float32)


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def affine(x, w, n):
    return x @ w[f"{n}.weight"].T.astype(float) + w[f"{n}.bias"]


def added(x, w, n):
    return x + sigmoid(w[f"{n}.gate"]) * affine(x, w, n)


CASES = {
    "linear": ({"name": "linear"}, lambda x, w: affine(x, w, 0)),
    "linear to 4": ({"name": "linear", "size": 4}, lambda x, w: affine(x, w, 0)),
    "linear to 8": ({"name": "linear", "size": 8}, lambda x, w: affine(x, w, 0)),
    "mlp": ({"name": "mlp", "sizes": (7, 3)}, lambda x, w: affine(relu(affine(x, w, 0)), w, 1)),
    "mlp of one": (
        {"name": "mlp", "sizes": (4,), "activation": "silu", "last": "tanh"},
        lambda x, w: np.tanh(affine(x, w, 0)),
    ),
    "widening": ({"name": "widening", "factor": 3}, lambda x, w: affine(relu(affine(x, w, 0)), w, 1)),
    "skip": ({"name": "skip"}, lambda x, w: added(x, w, 0)),
    "skip twice": ({"name": "skip", "layers": 2}, lambda x, w: added(added(x, w, 0), w, 1)),
    "gated": ({"name": "gated"}, lambda x, w: x * np.tanh(w["gate"])),
}
STARTS = {
    "linear": X,
    "linear to 4": X[:, :4],
    "linear to 8": np.pad(X, ((0, 0), (0, 2))),
    "skip": X,
    "skip twice": X,
    "gated": X * 0.9640275801,
}
every = pytest.mark.parametrize("case", CASES)


def built(case, **changed):
    options = {**CASES[case][0], **changed}
    head = HEADS.get(options.pop("name"))(**options).build(X.shape[1])
    return head, Parameters(head.weights, seed=3, root="head")


def shaken(parameters):
    noise = np.random.default_rng(2)
    for variable in parameters.variables.values():
        variable.assign_add(noise.standard_normal(variable.shape).astype(np.float32))
    return parameters


@every
def test_the_vectors_are_those_of_a_second_statement(case):
    head, parameters = built(case)
    made = head(shaken(parameters), X, None).numpy()
    assert made.shape == (5, head.outputs) and made.dtype == np.float32 and head.inputs == 6
    np.testing.assert_allclose(made, CASES[case][1](X.astype(float), parameters.tensors()), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", STARTS)
def test_these_start_as_the_identity_or_as_near_to_it_as_they_can(case):
    head, parameters = built(case)
    np.testing.assert_allclose(head(parameters, X, None), STARTS[case], rtol=1e-6, atol=0 if case != "gated" else 1e-7)


def test_random_layers_keep_about_the_size_of_what_they_read():
    head, parameters = built("mlp of one", last="none", sizes=(64,))
    assert 0.6 < np.std(head(parameters, X, None)) / np.std(X) < 1.1


@every
def test_dense_layers_compute_the_same(case):
    head, parameters = built(case)
    shaken(parameters)
    x = X.astype(float)
    functions = {"none": lambda x: x, "relu": relu, "tanh": np.tanh}
    for layer in head.layers(parameters.tensors()):
        assert layer.weight.dtype == np.float32
        x = functions[layer.activation](x @ layer.weight.T.astype(float) + (0 if layer.bias is None else layer.bias))
    np.testing.assert_allclose(x, head(parameters, X, None), rtol=1e-5, atol=1e-5)


@every
def test_dropout_comes_before_the_head(case):
    """The head of the vectors with some of their numbers set to 0, and the others doubled."""
    head, parameters = built(case, dropout=0.5)
    shaken(parameters)
    key = Dropout.of(1, 2)
    read = key.fold(0).apply(tf.constant(X), 0.5).numpy()
    assert 5 < np.sum(read == 0) < 25
    np.testing.assert_allclose(head(parameters, X, key), head(parameters, read, None), rtol=1e-5, atol=1e-5)


def test_skip_dropout_leaves_what_is_added_to_alone():
    head, parameters = built("skip", skip_dropout=0.5)
    np.testing.assert_array_equal(head(parameters, X, Dropout.of(1, 2)), X)
    shaken(parameters)
    assert not np.allclose(head(parameters, X, Dropout.of(1, 2)), head(parameters, X, None))


def test_the_gate_of_skip_has_a_gradient_as_soon_as_its_layer_has_moved():
    head, parameters = built("skip")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(head(parameters, X, None)))
    gradients = tape.gradient(loss, parameters.variables)
    moved = {path for path, gradient in gradients.items() if np.any(gradient.numpy())}
    assert moved == {"head/0/kernel", "head/0/bias"}
