"""MPNet's own rules: positions from row 2 on, one table of relative positions, which every layer reads."""

from __future__ import annotations

import golden_families as golden
import numpy as np
import pytest

from rankcli.encoders.build import build_encoder
from rankcli.encoders.family import family_of
from rankcli.encoders.relative import buckets_of
from rankcli.errors import ConfigError

STORED = golden.MODELS["mpnet"]["config"]


def read(**changed):
    return family_of("mpnet").read(STORED | changed, "model/config.json")


@pytest.mark.parametrize("pad", [0, 1, 5])
def test_positions_begin_with_row_2_whatever_padding_is(pad):
    config = read(pad_token_id=pad)
    assert (config.max_positions, config.type_vocab_size, config.pad_token_id) == (38, 0, pad)
    assert family_of("mpnet").write(config)["max_position_embeddings"] == 40
    shapes = {weight.path: weight.shape for weight in family_of("mpnet").weights(config, False)}
    assert shapes["embeddings/position_embeddings"] == (40, 16) and shapes["positions/table"] == (32, 2)


def test_distances_have_the_buckets_of_pytorch():
    stored = golden.GOLDEN["buckets"]["t5_and_mpnet_32_128_from_-600"]
    np.testing.assert_array_equal(buckets_of(np.arange(-600, 601), 32, 128), stored)


def test_every_layer_reads_the_one_table():
    encoder = build_encoder(read(num_hidden_layers=3))
    layout = golden.laid_out(golden.sequences("mpnet")[:1])
    before = [x.numpy() for x in encoder.states(layout, layers=(0, 1, 2, 3))]
    table = encoder.parameters.variables["encoder/positions/table"]
    table.assign(np.random.default_rng(1).normal(size=(32, 2)))
    after = [x.numpy() for x in encoder.states(layout, layers=(0, 1, 2, 3))]
    np.testing.assert_array_equal(after[0], before[0])
    assert not np.allclose(after[1], before[1], atol=1e-4)


def test_all_that_is_not_supported_is_one_error():
    with pytest.raises(ConfigError) as caught:
        read(relative_attention_num_buckets=64, hidden_act="silu", max_position_embeddings=2)
    assert caught.value.what == (
        "relative_attention_num_buckets 64: supported are 32; hidden_act 'silu': supported are gelu, gelu_new, relu; "
        "max_position_embeddings leaves no position after that of padding"
    )
