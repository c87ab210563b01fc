"""DistilBERT's own rules: its names for sizes, no segments, no dropout after attention."""

from __future__ import annotations

import dataclasses

import golden_families as golden
import pytest

from rankcli.encoders.build import build_encoder
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.family import family_of
from rankcli.errors import ConfigError

STORED = golden.MODELS["distilbert"]["config"]


def read(**changed):
    return family_of("distilbert").read(STORED | changed, "model/config.json")


def test_sizes_have_names_of_their_own():
    config = read(n_layers=3, dim=12, n_heads=3, hidden_dim=20, dropout=0.3, attention_dropout=0.2, activation="relu")
    assert (config.layers, config.hidden_size, config.heads, config.intermediate_size) == (3, 12, 3, 20)
    assert (config.embedding_size, config.type_vocab_size, config.layer_norm_eps) == (12, 0, 1e-12)
    assert (config.dropout, config.attention_dropout, config.hidden_act) == (0.3, 0.2, "relu")


def test_all_that_is_not_supported_is_one_error():
    with pytest.raises(ConfigError) as caught:
        read(dim=16, n_heads=3, activation="tanh", n_layers="6")
    assert caught.value.what == (
        "n_layers is '6', but must be a whole number >= 0; activation 'tanh': supported are gelu, gelu_new, relu; "
        "dim is not a multiple of n_heads"
    )


def test_dropout_is_on_embeddings_attention_weights_and_the_feed_forward_net_alone(monkeypatch):
    rates = []
    monkeypatch.setattr(Dropout, "apply", lambda self, x, rate: rates.append(rate) or x)
    config = dataclasses.replace(read(), dropout=0.3, attention_dropout=0.2)
    encoder = build_encoder(config)
    layout = golden.laid_out(golden.sequences("distilbert")[1:2])
    encoder.states(layout, Dropout.of(1, step=0))
    used = [rate for rate in rates if rate]
    chunks = used.count(0.2) // config.layers  # attention's weights come in as many parts as the layout has chunks
    assert used == [0.3] + ([0.2] * chunks + [0.3]) * config.layers


def test_it_has_neither_pooler_nor_segments():
    with pytest.raises(ConfigError, match="pooling: distilbert encoders have no pooler"):
        family_of("distilbert").weights(read(), pooler=True)
    assert not any(
        "token_type" in name for weight in family_of("distilbert").weights(read(), False) for name in weight.names
    )
