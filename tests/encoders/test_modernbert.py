"""ModernBERT's own rules: kinds of layers and bases in old and new keys, windows in long sequences, what is refused."""

from __future__ import annotations

import golden_families as golden
import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.encoders import attention
from rankcli.encoders.build import Pretrained, build_encoder
from rankcli.encoders.family import family_of
from rankcli.errors import ConfigError
from rankcli.records.layout import flat, packed
from rankcli.shapes import TokenSequence

STORED = golden.MODELS["modernbert"]["config"]
FAMILY = family_of("modernbert")
FULL, SLIDING = "full_attention", "sliding_attention"


def read(**changed):
    return FAMILY.read(STORED | changed, "model/config.json")


def local(config):
    return [config.is_local(n) for n in range(config.layers)]


def test_absent_constants_take_their_known_values():
    needed = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    config = FAMILY.read({"model_type": "modernbert", **{key: STORED[key] for key in needed}}, "")
    assert (config.max_positions, config.layer_norm_eps, config.hidden_act) == (8192, 1e-5, "gelu")
    assert (config.pooling, config.classifier_bias, config.pad_token_id) == ("cls", False, 50283)
    assert (config.dropout, config.attention_dropout, config.inner_dropout) == (0, 0, 0)
    assert (local(config), FAMILY.block(config, 1).window) == ([False, True, True, False], 64)
    assert (config.global_base, config.local_base) == (160000.0, 10000.0)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"global_attn_every_n_layers": 2}, [False, True, False, True]),
        ({"layer_types": [SLIDING, FULL, FULL, SLIDING]}, [True, False, False, True]),
        ({"layer_types": [SLIDING] * 4, "global_attn_every_n_layers": 1}, [True] * 4),
    ],
)
def test_layers_are_local_by_number_or_list_and_the_list_wins(changed, expected):
    config = read(**changed)
    assert local(config) == expected
    assert FAMILY.write(config)["layer_types"] == [SLIDING if one else FULL for one in expected]


@pytest.mark.parametrize(
    ("changed", "bases"),
    [
        ({"global_rope_theta": 80000, "local_rope_theta": 500.5}, (80000, 500.5)),
        ({"global_rope_theta": 70000.0, "local_rope_theta": None}, (70000, 70000)),
        ({"rope_parameters": {SLIDING: {"rope_type": "default", "rope_theta": 7}}}, (160000, 7)),
        ({"rope_parameters": {FULL: {"rope_theta": 9.0}}, "global_rope_theta": 5.0, "local_rope_theta": 3.0}, (9, 3)),
    ],
)
def test_bases_are_in_old_or_new_keys_and_the_new_win(changed, bases):
    config = read(**changed)
    assert (config.global_base, config.local_base) == bases
    again = FAMILY.write(config)
    assert (again["global_rope_theta"], again["local_rope_theta"]) == bases
    assert [again["rope_parameters"][kind]["rope_theta"] for kind in (FULL, SLIDING)] == [*bases]
    assert [FAMILY.block(config, n).positions.base for n in range(2)] == [*bases]


def test_all_that_is_not_supported_is_one_error():
    wrong = {
        "hidden_activation": "swish",
        "classifier_pooling": "max",
        "attention_bias": True,
        "norm_bias": True,
        "num_attention_heads": 16,
        "layer_types": [FULL, "chunked_attention"],
        "rope_parameters": {FULL: {"rope_type": "yarn"}},
        "local_rope_theta": 0,
    }
    with pytest.raises(ConfigError) as caught:
        read(**wrong)
    assert caught.value.where == "model/config.json"
    assert caught.value.what == (
        "hidden_activation 'swish': supported are gelu, gelu_new, relu, silu; classifier_pooling 'max': supported are "
        "cls, mean; norm_bias: only layers without biases are supported; attention_bias: only layers without biases "
        "are supported; hidden_size is not a multiple of twice num_attention_heads; layer_types must be a list of "
        "full_attention or sliding_attention for each of the 4 layers; rope_parameters of full_attention "
        "{'rope_type': 'yarn'}: only type default is supported; the base of rotary positions (rope_theta) must be at "
        "least 1"
    )


@pytest.mark.parametrize("value", [[], "default", {FULL: 3}, {SLIDING: {"rope_theta": "1"}}])
def test_odd_rope_parameters_are_refused(value):
    with pytest.raises(ConfigError, match="rope_"):
        read(rope_parameters=value)
    with pytest.raises(ConfigError, match="layer_types must be a list"):
        read(layer_types=value or 5)


def test_it_has_no_pooler():
    with pytest.raises(ConfigError, match="pooling: modernbert encoders have no pooler"):
        FAMILY.weights(read(), pooler=True)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    given = Pretrained(golden.written("modernbert", tmp_path_factory.mktemp("modernbert")))
    config = FAMILY.read(STORED | {"max_position_embeddings": 1000}, "")
    return build_encoder(config, given)


def laid_out(form, *lengths):
    ids = [np.arange(n, dtype=np.int32) * 7 % 50 + 5 for n in lengths]
    parts = [TokenSequence(x, 0 * x, 0 * x) for x in ids]
    (layout,) = flat([parts], len(parts), 0) if form == "flat" else packed([parts], len(parts), 240, 0)
    return tf.nest.map_structure(tf.constant, layout)


@pytest.mark.parametrize("form", ["flat", "packed"])
def test_long_sequences_in_blocks_have_the_states_of_the_whole(encoder, form, monkeypatch):
    layout = laid_out(form, 70, 150, 200)
    (whole,) = encoder.states(layout)
    monkeypatch.setattr(attention, "WHOLE", 64)
    (found,) = encoder.states(layout)
    real = layout.places.numpy()[layout.places.numpy() >= 0]
    np.testing.assert_allclose(found.numpy()[real], whole.numpy()[real], atol=2e-4)


def test_local_layers_ask_for_the_keys_in_their_window_alone(encoder, monkeypatch):
    """In blocks of 64 queries with a window of 3, attention reads 70 keys; in global layers all."""
    keys, attend = [], attention._Rules.attend

    def noted(rules, heads, *places):
        keys.append(heads[1].shape[2])
        return attend(rules, heads, *places)

    monkeypatch.setattr(attention, "WHOLE", 64)
    monkeypatch.setattr(attention._Rules, "attend", noted)
    encoder.states(laid_out("packed", 200))
    assert [size for n, size in enumerate(keys) if n == 0 or size != keys[n - 1]] == [240, 70, 240]


def test_between_layers_vectors_are_float32_whatever_is_computed_in(encoder, tmp_path):
    given = Pretrained(golden.written("modernbert", tmp_path))
    coarse = build_encoder(encoder.config, given, dtype="bfloat16")
    layout, kept = laid_out("flat", 50), []
    stack = coarse._stack
    coarse._stack = lambda *inputs: kept.extend(stack(*inputs)) or kept
    (states,) = coarse.states(layout)
    assert (kept[0].dtype, states.dtype) == (tf.float32, tf.bfloat16)
    np.testing.assert_allclose(tf.cast(states, tf.float32), encoder.states(layout)[0], atol=0.15)
