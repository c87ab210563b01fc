"""Frozen encoders: what is never trained keeps its bits, has no optimizer slots, and no dropout."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import tiny_models as tiny

from rankcli.backend import tf
from rankcli.config.registry import OPTIMIZERS
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.weights import Weight, with_frozen
from rankcli.errors import ConfigError
from rankcli.trainers.tensorflow import TensorflowTrainer
from rankcli.training.groups import GroupOptions, groups_for

THREE = dataclasses.replace(tiny.TINY, layers=3, dropout=0.5)


def trained_paths(**options):
    variables = tiny.built("biencoder", encoder=THREE, **options).reranker.variables
    return {path for path, variable in variables.items() if variable.trainable}


def test_embeddings_and_the_lowest_layers_are_frozen():
    everything = trained_paths()
    below = {path for path in everything if re.match(r"encoder/(embeddings|layer_[01]/)", path)}
    assert len(below) == 5 + 2 * 12
    assert trained_paths(frozen=2) == everything - below != set()
    assert trained_paths(frozen=True) == set()


def test_weights_above_the_layers_are_trained_and_tables_below_are_not():
    paths = [
        "embeddings/x",
        "positions/table",
        "convolution/kernel",
        "layer_0/k",
        "layer_10/k",
        "last_norm/g",
        "pooler/k",
    ]
    weights = [Weight(path, (1,), (path,), "zeros") for path in paths]
    assert [w.path for w in with_frozen(weights, 1) if w.trainable] == ["layer_10/k", "last_norm/g", "pooler/k"]
    assert with_frozen(weights, False) == weights


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_frozen_parts_have_no_dropout(pooling):
    """With all but the top layer frozen, only its dropout makes two passes differ."""
    model = tiny.built("biencoder", encoder=THREE, frozen=2, pooling=pooling)
    layout = tiny.batch(model.extractor, tiny.examples(model.extractor)).fields["doc"].layout
    encoder, key = model.reranker.encoders["encoder"], Dropout.of(1, 2)
    still, moving = encoder.states(layout, key, [2, 3])
    plain, last = encoder.states(layout, None, [2, 3])
    np.testing.assert_array_equal(still, plain)
    assert not np.allclose(moving, last)
    whole = tiny.built("biencoder", encoder=THREE, frozen=True, pooling=pooling)
    base = whole.reranker.bases["doc"]
    assert base.frozen and not model.reranker.bases["doc"].frozen
    np.testing.assert_array_equal(base.encode(layout, key), base.encode(layout, None))


def test_gradients_do_not_reach_what_is_frozen():
    model = tiny.built("biencoder", encoder=THREE, frozen=2)
    laid_out = tiny.batch(model.extractor, tiny.examples(model.extractor))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(model.reranker(laid_out, Dropout.of(1, 2)).scores))
    gradients = tape.gradient(loss, model.reranker.variables)
    assert {path for path, g in gradients.items() if g is not None} == trained_paths(frozen=2)


def test_groups_of_frozen_variables_are_refused_and_others_train_the_rest():
    variables = tiny.built("biencoder", encoder=THREE, frozen=2).reranker.variables
    adam = OPTIMIZERS.get("adam")()
    (group,) = groups_for(variables, TensorflowTrainer(optimizer=adam, layerdecay=0.5))
    assert set(group.members) == trained_paths(frozen=2)
    assert {member.scale for member in group.members.values()} == {1.0}
    groups = (GroupOptions(pattern="layer_1", lr=1e-3), GroupOptions(pattern="", lr=1e-3))
    with pytest.raises(ConfigError, match="'layer_1' matches only variables that an option of the reranker freezes"):
        groups_for(variables, TensorflowTrainer(optimizer=adam, groups=groups))
    nothing = tiny.built("biencoder", frozen=True).reranker.variables
    with pytest.raises(ConfigError, match="every variable is frozen\n  -> freeze fewer layers of the reranker"):
        groups_for(nothing, TensorflowTrainer(optimizer=adam))


def test_more_frozen_layers_than_there_are_is_an_error():
    with pytest.raises(ConfigError, match="3 frozen layers, but the encoder has 3") as error:
        tiny.built("biencoder", encoder=THREE, frozen=3)
    assert error.value.where == "reranker.frozen"
