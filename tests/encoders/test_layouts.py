"""Every layout gives what one sequence by itself gives: states, pooled vectors, gradients."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.encoders.build import build_encoder
from rankcli.records.layout import flat, packed
from rankcli.shapes import TokenSequence

LENGTHS = (6, 1, 9, 4, 16, 3, 3)
ROWS = len(LENGTHS) + 2  # two that hold no sequence
PAD = 7
WIDTH = 16

every = pytest.mark.parametrize("kind", ["bert", "electra"])
layouts = pytest.mark.parametrize("name", ["flat", "packed"])
dtypes = pytest.mark.parametrize("dtype", ["float32", "bfloat16"])


def sequences() -> list[TokenSequence]:
    random = np.random.default_rng(1)
    return [TokenSequence(random.integers(0, 40, n), np.arange(n) * 2 // n, np.arange(n) % 3) for n in LENGTHS]


def laid_out(name, parts, rows=ROWS):
    (layout,) = flat([parts], rows, PAD) if name == "flat" else packed([parts], rows, WIDTH, PAD)
    return tf.nest.map_structure(tf.constant, layout)


def encoder_of(small, kind, dtype="float32"):
    size = 8 if kind == "electra" else small.embedding_size
    config = dataclasses.replace(small, kind=kind, embedding_size=size)
    encoder = build_encoder(config, dtype=dtype, pooler=kind == "bert")
    random = np.random.default_rng(3)
    encoder.parameters.assign(
        {n: v + random.normal(0, 0.2, v.shape).astype(np.float32) for n, v in encoder.parameters.tensors().items()}
    )
    return encoder


def outputs_of(encoder, layout):
    """Sums of squares of all outputs that rerankers ask for, and the outputs of sequences and tokens alone."""
    states, mask = encoder.tokens(layout)
    states = tf.where(mask[:, :, None], tf.cast(states, tf.float32), 0.0)
    poolings = ["cls", "mean", *(["pooler"] if encoder.config.kind == "bert" else [])]
    pooled = [encoder.pooled(layout, pooling)[: len(LENGTHS)] for pooling in poolings]
    return [states[: len(LENGTHS)], *pooled]


@every
@layouts
@dtypes
def test_outputs_are_those_of_each_sequence_alone(small, lay_out, kind, name, dtype):
    encoder = encoder_of(small, kind, dtype)
    states, *pooled = outputs_of(encoder, laid_out(name, sequences()))
    for n, sequence in enumerate(sequences()):
        alone = tf.nest.map_structure(tf.constant, packed([[sequence]], 1, len(sequence.ids), PAD)[0])
        own, *vectors = (output[0] for output in outputs_of(encoder, alone))
        tolerance = 1e-5 if dtype == "float32" else 0.1
        np.testing.assert_allclose(states[n, : len(own)], own, atol=tolerance)
        for together, vector in zip(pooled, vectors, strict=True):
            np.testing.assert_allclose(together[n], vector, atol=tolerance)


def gradients_of(encoder, layout):
    """Of a loss over all outputs, by variable."""
    variables = list(encoder.parameters.variables.values())
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(tf.sin(output)) for output in outputs_of(encoder, layout)])
    return [tf.convert_to_tensor(gradient).numpy() for gradient in tape.gradient(loss, variables)]


@every
@layouts
@dtypes
def test_gradients_are_the_sums_of_those_of_each_sequence(small, kind, name, dtype):
    """Summed, in float32, over layouts that hold one sequence and no padding."""
    exact = encoder_of(small, kind)
    alone = [packed([[one]], 1, len(one.ids), PAD)[0] for one in sequences()]
    total = None
    for layout in alone:
        found = gradients_of(exact, tf.nest.map_structure(tf.constant, layout))
        total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
    together = gradients_of(encoder_of(small, kind, dtype), laid_out(name, sequences()))
    for one, other in zip(together, total, strict=True):
        limit = 1e-4 if dtype == "float32" else 0.1
        assert np.linalg.norm(one - other) <= limit * (1 + np.linalg.norm(other))


@layouts
def test_padding_gets_no_gradient(small, name):
    """The padding's token is in no sequence: its embedding must not move."""
    encoder = encoder_of(small, "bert")
    parts = [dataclasses.replace(one, ids=np.where(one.ids == PAD, 8, one.ids)) for one in sequences()]
    words = gradients_of(encoder, laid_out(name, parts))[0]
    assert not words[PAD].any() and words[8].any()


@layouts
def test_any_number_of_sequences_may_be_there(small, name):
    encoder = encoder_of(small, "bert")
    for many in (0, 1, 2):
        layout = laid_out(name, sequences()[:many], 2)
        assert np.isfinite(encoder.pooled(layout, "cls")).all() and np.isfinite(encoder.tokens(layout)[0]).all()
        np.testing.assert_array_equal(encoder.pooled(layout, "mean")[many:], np.zeros((2 - many, 12)))
