"""The owner of variables: paths, names, constants, and adapters around it."""

from __future__ import annotations

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.encoders.build import build_encoder
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.weights import Weight, dense, norm
from rankcli.errors import StorageError

WEIGHTS = [*dense("a", ("first", "second"), 3, 2), *norm("n", "n", 3, bias=False)]


def test_paths_are_below_the_root_and_values_those_of_the_whole_path():
    rooted, bare = Parameters(WEIGHTS, seed=4, root="encoder/title"), Parameters(WEIGHTS, seed=4)
    assert list(rooted.variables) == ["encoder/title/a/kernel", "encoder/title/a/bias", "encoder/title/n/gamma"]
    assert "a/kernel" in rooted and "n/beta" not in rooted
    np.testing.assert_array_equal(rooted["a/kernel"], rooted.variables["encoder/title/a/kernel"])
    assert not np.array_equal(rooted["a/kernel"], bare["a/kernel"])


def test_initial_values_have_the_scale_and_the_numbers_of_their_weight():
    weights = [
        Weight("wide", (4000,), ("wide",), "normal", scale=0.5),
        Weight("usual", (4000,), ("usual",), "normal"),
        Weight("given", (2, 1), ("given",), (0.5, -3.0), trainable=False),
    ]
    parameters = Parameters(weights, scale=0.1)
    deviation = {path: float(tf.math.reduce_std(parameters[path])) for path in ("wide", "usual")}
    assert deviation == {"wide": pytest.approx(0.44, abs=0.02), "usual": pytest.approx(0.088, abs=0.004)}
    np.testing.assert_array_equal(parameters["given"], [[0.5], [-3]])
    assert [variable.trainable for variable in parameters.variables.values()] == [True, True, False]


def test_tensors_are_cast_where_they_are_computed_with_and_exact_where_they_are_looked_up():
    parameters = Parameters(WEIGHTS, dtype="bfloat16")
    assert (parameters["a/kernel"].dtype, parameters.exact("a/kernel").dtype) == (tf.bfloat16, tf.float32)


def test_only_kernels_and_biases_are_frozen():
    parameters = Parameters(WEIGHTS)
    before = {path: parameters[path].numpy() for path in ("a/kernel", "n/gamma")}
    parameters.freeze()
    for variable in parameters.variables.values():
        variable.assign_add(tf.ones_like(variable))
    np.testing.assert_array_equal(parameters["a/kernel"], before["a/kernel"])
    np.testing.assert_array_equal(parameters["n/gamma"], before["n/gamma"] + 1)


def test_what_does_not_fit_names_the_part_and_sets_nothing():
    parameters = Parameters(WEIGHTS, root="encoder")
    tensors = parameters.tensors()
    with pytest.raises(StorageError, match="do not fit the encoder: n.weight is missing; x is not a weight of this"):
        parameters.assign({"x": np.zeros(1), **{name: v + 1 for name, v in tensors.items() if name != "n.weight"}})
    assert all(np.array_equal(value, tensors[name]) for name, value in parameters.tensors().items())


class Added(Parameters):
    """Frozen weights, and a trained difference of each kernel below a path."""

    def __init__(self, base: Parameters, below: str) -> None:
        self._base = base
        self.root, self.dtype, self.weights, self._constants = base.root, base.dtype, base.weights, {}
        self._kernels = [path for path in base.variables if path.startswith(below) and path.endswith("/kernel")]
        self._deltas = {
            f"{path}/delta": tf.Variable(tf.zeros_like(base.variables[path]), name=f"{path}/delta")
            for path in self._kernels
        }
        still = {p: tf.Variable(v, name=p, trainable=False) for p, v in base.variables.items()}
        base.variables = still
        self.variables = {**still, **self._deltas}

    def exact(self, path):
        delta = self._deltas.get(f"{self.root}/{path}/delta")
        return self._base.exact(path) if delta is None else self._base.exact(path) + delta

    def update(self, values):
        self._base.update(values)
        for path in self._kernels:
            if path in values:
                self._deltas[f"{path}/delta"].assign(tf.zeros_like(self._deltas[f"{path}/delta"]))


class Adding:
    """A toy adapter: the feed-forward kernels of the encoder learn, all else stays."""

    def wrap(self, parameters: Parameters) -> Parameters:
        return Added(parameters, "encoder/layer_0/intermediate") if parameters.root == "encoder" else parameters


def test_an_adapter_trains_variables_of_its_own_and_saves_them_merged(small, lay_out):
    layout, name = lay_out([[4, 5, 6], [7]]), "encoder.layer.0.intermediate.dense.weight"
    plain = build_encoder(small, seed=3)
    adapted = build_encoder(small, seed=3, adapters=[Adding()])
    np.testing.assert_array_equal(adapted.pooled(layout, "cls"), plain.pooled(layout, "cls"))
    variables = {path: v for path, v in adapted.parameters.variables.items() if v.trainable}
    assert list(variables) == ["encoder/layer_0/intermediate/kernel/delta"]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(adapted.pooled(layout, "mean")[:, :3]))
    (gradient,) = tape.gradient(loss, list(variables.values()))
    (delta,) = variables.values()
    delta.assign_sub(0.1 * gradient)
    changed, before = adapted.parameters.tensors(), plain.parameters.tensors()
    assert changed.keys() == before.keys()
    np.testing.assert_allclose(changed[name], before[name] - 0.1 * gradient.numpy().T, atol=1e-6)
    assert all(np.array_equal(changed[other], before[other]) for other in before if other != name)
    plain.parameters.assign(changed)  # what was saved needs no adapter
    np.testing.assert_allclose(plain.pooled(layout, "cls"), adapted.pooled(layout, "cls"), atol=1e-6)
    adapted.parameters.freeze()
    np.testing.assert_allclose(adapted.pooled(layout, "cls"), plain.pooled(layout, "cls"), atol=1e-6)


def test_weights_given_to_an_adapter_are_what_it_computes_with(small):
    source, adapted = build_encoder(small, seed=8), build_encoder(small, seed=3, adapters=[Adding()])
    adapted.parameters.variables["encoder/layer_0/intermediate/kernel/delta"].assign_add(tf.ones([12, 20]))
    adapted.parameters.assign(source.parameters.tensors())
    for name, value in adapted.parameters.tensors().items():
        np.testing.assert_array_equal(value, source.parameters.tensors()[name])
