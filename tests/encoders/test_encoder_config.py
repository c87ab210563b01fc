"""config.json read and written, and sizes asked for by the user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankcli.encoders.config import EncoderConfig, EncoderSize
from rankcli.encoders.family import family_of
from rankcli.errors import ConfigError

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "encoders"


def stored(kind: str) -> dict:
    return json.loads((GOLDEN / kind / "config.json").read_text())


def read(content: dict) -> EncoderConfig:
    where = "model/config.json"
    return family_of(content.get("model_type"), where).read(content, where)


def test_config_json_of_electra_is_understood():
    assert read(stored("electra")) == EncoderConfig(
        kind="electra",
        vocab_size=60,
        hidden_size=16,
        layers=2,
        heads=2,
        intermediate_size=32,
        embedding_size=8,
        max_positions=24,
        type_vocab_size=2,
        layer_norm_eps=1e-12,
        hidden_act="gelu",
        dropout=0.1,
        attention_dropout=0.1,
        pad_token_id=0,
        initializer_range=0.02,
    )


@pytest.mark.parametrize("kind", ["bert", "electra"])
def test_what_is_written_is_read_back_and_says_what_was_read(kind):
    content = stored(kind)
    config = read(content)
    written = family_of(kind).write(config)
    assert read(written) == config
    assert {key: content[key] for key in written} == written


def test_absent_constants_take_their_known_values():
    needed = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    content = {"model_type": "bert", "pad_token_id": None, **{key: stored("bert")[key] for key in needed}}
    config = read(content)
    assert (config.max_positions, config.type_vocab_size, config.layer_norm_eps) == (512, 2, 1e-12)
    assert (config.hidden_act, config.pad_token_id, config.embedding_size) == ("gelu", 0, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt3"}, "model_type is 'gpt3'; supported are .*bert.*, electra"),
        ({"model_type": None}, "model_type is missing"),
        ({"position_embedding_type": "relative_key"}, "only absolute positions"),
        ({"is_decoder": True}, "a decoder"),
        ({"hidden_act": "silu"}, "supported are gelu, gelu_new, relu"),
        ({"hidden_size": None}, "hidden_size is None, but must be a whole number >= 1"),
        ({"vocab_size": True}, "vocab_size is True"),
        ({"num_hidden_layers": -1}, "num_hidden_layers is -1, but must be a whole number >= 0"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps is nan, but must be a number >= 0"),
        ({"num_attention_heads": 3}, "hidden_size is not a multiple of num_attention_heads"),
    ],
)
def test_what_cannot_be_computed_is_refused_by_name(change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read(stored("bert") | change)
    assert caught.value.where == "model/config.json"


def test_all_that_is_not_supported_is_one_error():
    wrong = {"hidden_act": "silu", "is_decoder": True, "position_embedding_type": "alibi", "vocab_size": 0}
    with pytest.raises(ConfigError) as caught:
        read(stored("bert") | wrong)
    assert caught.value.what == (
        "position_embedding_type 'alibi': only absolute positions are supported; vocab_size is 0, but must be a whole "
        "number >= 1; hidden_act 'silu': supported are gelu, gelu_new, relu; a decoder; only encoders are supported"
    )


def test_a_size_becomes_a_bert_over_the_vocabulary():
    size = EncoderSize(layers=0, hidden=8, heads=2, intermediate=9, dropout=0.2, max_positions=33)
    config = EncoderConfig.from_size(size, 77, "bert")
    assert (config.kind, config.vocab_size, config.layers, config.embedding_size) == ("bert", 77, 0, 8)
    assert (config.dropout, config.attention_dropout, config.max_positions) == (0.2, 0.2, 33)


def test_hidden_must_divide_among_heads():
    with pytest.raises(ValueError, match="hidden = 10 must be a multiple of heads = 4"):
        EncoderSize(hidden=10, heads=4)


def test_tokens_and_places_without_an_embedding_are_refused():
    config = EncoderConfig.from_size(EncoderSize(max_positions=64), 100, "bert")
    config.check_fit(100, 64)
    with pytest.raises(ConfigError, match="101 tokens, but the encoder embeds only 100"):
        config.check_fit(101)
    with pytest.raises(ConfigError, match="sequences of 65 tokens, but the encoder has only 64 positions"):
        config.check_fit(100, 65)
