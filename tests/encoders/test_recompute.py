"""Layers that are computed again for gradients: the same values, gradients and dropout, with fewer tensors kept."""

from __future__ import annotations

from types import SimpleNamespace

import golden_families as golden
import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.encoders.build import Pretrained
from rankcli.encoders.dropout import Dropout
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.crossencoder import CrossEncoder
from rankcli.shapes import SequenceSpec, StreamSpec
from rankcli.training.gradients import dense
from rankcli.verbs.train import train


def gradients(model, layout, **options):
    """The loss and all gradients of a step with dropout."""

    def step(layout):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(model.logits(layout, Dropout.of(1, 3))))
        found = tape.gradient(loss, model.variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return loss, {path: dense(value) for path, value in found.items()}

    return tf.function(step, autograph=False, **options)(layout)


@pytest.mark.parametrize(
    ("name", "form", "xla"),
    [("mpnet", "flat", False), ("deberta-v2-xlarge", "flat", False), ("modernbert-mean", "packed", True)],
)
def test_gradients_are_the_same_to_rounding(tmp_path, name, form, xla):
    spec = SequenceSpec("doc", "doc", max(golden.GOLDEN["lengths"]))
    extractor = SimpleNamespace(streams={"doc": StreamSpec("doc", 60)}, fields={"pair": spec})
    given, layout = Pretrained(golden.written(name, tmp_path)), golden.laid_out(golden.sequences(name), form)
    found = []
    for recompute in (False, True):
        context = RerankerContext(extractor=extractor, models={"pretrained": given}, recompute=recompute)
        model = CrossEncoder(pretrained="given").build(context)
        assert model.parameters["encoder"].recompute is recompute
        found.append(gradients(model, layout, jit_compile=xla))
    (loss, kept), (again, recomputed) = found
    assert float(again) == pytest.approx(float(loss), rel=1e-5)
    for path, values in kept.items():
        size = np.abs(values).max()
        np.testing.assert_allclose(recomputed[path], values, atol=1e-5 * size + 1e-6, err_msg=path)


def test_a_layer_is_in_the_graph_of_the_gradient_once_more(small, lay_out):
    """Without `recompute`, nothing of the forward pass is computed twice."""
    from rankcli.encoders.build import build_encoder

    layout = lay_out([[4, 5, 6], [7]])
    counts = []
    for recompute in (False, True):
        encoder = build_encoder(small, seed=3, recompute=recompute)
        variables = encoder.parameters.variables

        @tf.function(autograph=False)
        def step(encoder=encoder, variables=variables):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(encoder.pooled(layout, "mean", Dropout.of(1, 3)))
            return tape.gradient(loss, list(variables.values()))

        graph = step.get_concrete_function().graph
        counts.append(sum(op.type == "MatMul" for op in graph.get_operations()))
    assert counts[1] - counts[0] == 2 * 4  # layers, and matrix products of the dense layers of each


def test_a_training_with_it_and_an_adapter_is_one_without_it(tiny, tmp_path):
    """Also in micro-batches, which are a loop of the graph."""
    losses = []
    for name, more in (("plain", ()), ("again", ("trainer.recompute=true",))):
        overrides = ("reranker.adapter=lora", "trainer.accumulate=2", "trainer.niters=1", *more)
        train(tiny("crossencoder", *overrides), out=tmp_path / name)
        losses.append((tmp_path / name / "test.run").read_text().split())
    scores = [np.array(found[4::6], float) for found in losses]
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-5)
