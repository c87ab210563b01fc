"""ALBERT's own rules: groups of layers that share weights, narrow embeddings, values that config.json may lack."""

from __future__ import annotations

import dataclasses

import golden_families as golden
import numpy as np
import pytest

from rankcli.encoders.build import Pretrained, build_encoder
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.family import family_of
from rankcli.errors import ConfigError

STORED = golden.MODELS["albert"]["config"]


def read(**changed):
    return family_of("albert").read(STORED | changed, "model/config.json")


@pytest.mark.parametrize(
    ("layers", "groups", "expected"),
    [(12, 1, [0] * 12), (4, 2, [0, 0, 1, 1]), (5, 2, [0, 0, 0, 1, 1]), (3, 3, [0, 1, 2])],
)
def test_groups_take_equal_shares_of_the_layers_in_order(layers, groups, expected):
    assert read(num_hidden_layers=layers, num_hidden_groups=groups).passes() == expected


def test_absent_constants_are_those_of_albert():
    config = read()
    assert (config.hidden_act, config.dropout, config.attention_dropout) == ("gelu_new", 0.0, 0.0)
    assert (config.groups, config.inner, config.embedding_size) == (1, 1, 8)


def test_more_layers_have_no_more_weights(tmp_path):
    given = Pretrained(golden.written("albert", tmp_path))
    deep = dataclasses.replace(given.config, layers=100)
    shallow, encoder = build_encoder(given.config, given), build_encoder(deep, given)
    assert encoder.parameters.tensors().keys() == shallow.parameters.tensors().keys()
    layout = golden.laid_out(golden.sequences("albert")[1:2])
    once, again = (x.numpy() for x in encoder.states(layout, layers=(3, -1)))
    np.testing.assert_array_equal(once, shallow.states(layout)[0])
    assert not np.allclose(once, again)


def test_all_that_is_not_supported_is_one_error():
    with pytest.raises(ConfigError) as caught:
        read(num_hidden_layers=10**9, num_hidden_groups=0, position_embedding_type="relative_key")
    assert caught.value.what == (
        "position_embedding_type 'relative_key': only absolute positions are supported; num_hidden_groups is 0, but "
        "must be a whole number >= 1; more than 1000 layers"
    )
    with pytest.raises(ConfigError, match="num_hidden_groups is greater than num_hidden_layers"):
        read(num_hidden_groups=4)


def test_dropout_is_on_embeddings_attention_weights_and_attention_alone(monkeypatch):
    rates = []
    monkeypatch.setattr(Dropout, "apply", lambda self, x, rate: rates.append(rate) or x)
    encoder = build_encoder(read(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2))
    encoder.states(golden.laid_out(golden.sequences("albert")[1:2]), Dropout.of(1, step=0))
    used = [rate for rate in rates if rate]
    chunks = used.count(0.2) // 3  # attention's weights come in as many parts as the layout has chunks
    assert used == [0.3] + ([0.2] * chunks + [0.3]) * 3
