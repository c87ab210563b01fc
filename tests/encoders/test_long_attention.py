"""Attention in blocks of queries: equal to the whole, values and gradients, and in memory that grows with length."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.encoders import attention
from rankcli.encoders.attention import Attention, Bias
from rankcli.encoders.dropout import Dropout
from rankcli.records.layout import flat, packed
from rankcli.shapes import TokenSequence

HEADS, WIDTH, LENGTHS = 2, 8, (150, 201, 64)
settings = pytest.mark.parametrize("window", [None, 3, 100])
layouts = pytest.mark.parametrize("name", ["flat", "packed"])


def laid_out(name):
    parts = [TokenSequence(*np.zeros((3, n), np.int32)) for n in LENGTHS]
    (layout,) = flat([parts], 3, 0) if name == "flat" else packed([parts], 3, 280, 0)
    return tf.nest.map_structure(tf.constant, layout)


def slopes_by_distance(query, keys, query_places, key_places, slopes):
    """Depends on vectors, places and a table, as relative positions of DeBERTa do."""
    apart = tf.tanh(tf.cast(query_places[:, None] - key_places, tf.float32) / 20)
    return slopes[:, None, None] * apart + tf.reduce_sum(query, -1, keepdims=True) * apart


def found(layout, longest, window, dropout=None, spec=None):
    """The result of attention, and the gradients of queries, keys and values, and of a table of the bias."""
    tokens = int(tf.size(layout.ids))
    parts = tf.constant(np.random.default_rng(1).normal(size=(tokens, 3 * WIDTH)).astype(np.float32))
    slopes = tf.constant([1.5, -0.5])
    real = tf.reshape(layout.sequence, [-1, 1]) >= 0

    def compute(layout):
        with tf.GradientTape() as tape:
            tape.watch([parts, slopes])
            attend = Attention(layout, HEADS, longest)
            out = attend(parts, dropout, 0.25, window=window, bias=Bias(slopes_by_distance, (slopes,)))
            out = tf.where(real, out, 0.0)
            loss = tf.reduce_sum(tf.sin(3 * out))
        return [out, *tape.gradient(loss, [parts, slopes])]

    function = compute if spec is None else tf.function(compute, **spec)
    return [value.numpy() for value in function(layout)]


@settings
@layouts
@pytest.mark.parametrize("way", ["eager", "dynamic", "compiled"])
def test_blocks_find_what_the_whole_finds_with_equal_gradients(window, name, way, monkeypatch):
    layout = laid_out(name)
    whole = found(layout, 300, window)
    monkeypatch.setattr(attention, "WHOLE", 100)
    loose = tf.nest.map_structure(lambda x: tf.TensorSpec([None] * x.shape.rank, x.dtype), layout)
    spec = {"eager": None, "dynamic": {"input_signature": [loose]}, "compiled": {"jit_compile": True}}[way]
    if way == "compiled" and name == "flat":
        pytest.skip("devices that compile for fixed shapes have packed layouts")
    for one, other in zip(found(layout, 300, window, spec=spec), whole, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4 * (1 + np.abs(other).max()))


@settings
def test_dropout_in_blocks_is_a_function_of_its_key_and_keeps_the_mean(window, monkeypatch):
    monkeypatch.setattr(attention, "WHOLE", 100)
    layout = laid_out("flat")
    one, again, other = (found(layout, 300, window, Dropout.of(1, step)) for step in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_gradients_with_dropout_are_those_of_the_same_dropped_shares(monkeypatch):
    """The backward pass computes shares again: by finite differences along one direction."""
    monkeypatch.setattr(attention, "WHOLE", 100)
    layout = laid_out("flat")
    random = np.random.default_rng(3)
    start, along = (random.normal(size=(int(tf.size(layout.ids)), 3 * WIDTH)) for _ in range(2))

    def loss(parts):
        return tf.reduce_sum(tf.sin(Attention(layout, HEADS, 300)(parts, Dropout.of(1, 2), 0.25)))

    parts = tf.constant(start, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(parts)
        value = loss(parts)
    slope = float(tf.reduce_sum(tape.gradient(value, parts) * tf.constant(along, tf.float32)))
    ahead, behind = (float(loss(tf.constant(start + s * 1e-3 * along, tf.float32))) for s in (1, -1))
    assert slope == pytest.approx((ahead - behind) / 2e-3, rel=0.02, abs=0.5)


def test_up_to_512_tokens_nothing_asks_for_the_length():
    layout = laid_out("flat")
    loose = tf.nest.map_structure(lambda x: tf.TensorSpec([None] * x.shape.rank, x.dtype), layout)
    parts = tf.zeros([int(tf.size(layout.ids)), 3 * WIDTH])

    def operations(longest):
        traced = tf.function(lambda x: Attention(x, HEADS, longest)(parts), input_signature=[loose])
        return {node.op for node in traced.get_concrete_function().graph.as_graph_def().node}

    assert operations(512) & {"If", "StatelessIf", "While", "StatelessWhile"} == set()
    assert operations(513) & {"If", "StatelessIf"}


MEASURED = """
import threading, time
import numpy as np
from rankcli.backend import tf
from rankcli.encoders.build import build_encoder
from rankcli.encoders.config import EncoderConfig
from rankcli.records.layout import flat
from rankcli.shapes import TokenSequence

sizes = {"hidden_size": 768, "embedding_size": 768, "intermediate_size": 3072, "heads": 12, "layers": 1}
encoder = build_encoder(EncoderConfig(kind="bert", vocab_size=100, max_positions=8192, **sizes))

def layout(n):
    ids = np.arange(n) % 100
    return tf.nest.map_structure(tf.constant, flat([[TokenSequence(ids, ids * 0, ids * 0)]], 1, 0)[0])

def megabytes():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

def watch():
    while running:
        seen.append(megabytes())
        time.sleep(0.002)

loose = tf.nest.map_structure(lambda x: tf.TensorSpec([None] * x.shape.rank, x.dtype), layout(8))
states = tf.function(lambda x: tf.reduce_sum(encoder.states(x)[0]), input_signature=[loose])
states(layout(8))
long, running = layout(8192), True
start, seen = megabytes(), []
thread = threading.Thread(target=watch)
thread.start()
states(long)
running = False
thread.join()
print(max(seen) - start)
"""


@pytest.mark.slow
def test_8192_tokens_go_through_a_layer_of_12_heads_in_300_megabytes():
    done = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 300, done.stdout
