"""Encoders from directories: names with prefixes, old names, missing poolers, heads."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rankcli.encoders.build import Pretrained, build_encoder, encoder_config
from rankcli.encoders.config import EncoderSize
from rankcli.encoders.embeddings import WordEmbeddings, word_weights
from rankcli.encoders.family import family_of
from rankcli.encoders.parameters import Parameters
from rankcli.errors import ConfigError, MissingError, StorageError
from rankcli.text.weights import read_tensors, write_tensors

SIZE = EncoderSize(layers=1, hidden=8, heads=2, intermediate=16, max_positions=10)


def opened(directory, vocab_size, **options):
    """The encoder of a directory."""
    pretrained = Pretrained(directory)
    return build_encoder(encoder_config(pretrained, SIZE, vocab_size), pretrained, **options)


def copy(source, target, rename=lambda name: name, change=lambda tensors: None):
    """The model directory `source` with its tensors renamed and changed."""
    tensors = {rename(name): value for name, value in read_tensors(source).items()}
    change(tensors)
    write_tensors(target, tensors)
    (target / "config.json").write_text((source / "config.json").read_text())
    return target


def test_random_encoder_has_the_size_asked_for_and_is_the_seed_s_alone():
    config = encoder_config(None, SIZE, 30)
    one, same, other = (build_encoder(config, seed=seed).parameters.tensors() for seed in (1, 1, 2))
    word = "embeddings.word_embeddings.weight"
    assert one[word].shape == (30, 8)
    np.testing.assert_array_equal(one[word], same[word])
    assert not np.array_equal(one[word], other[word])


@pytest.mark.parametrize(
    ("kind", "denses"), [("bert", ["classifier"]), ("electra", ["classifier.dense", "classifier.out_proj"])]
)
def test_heads_are_apart_and_prefixes_gone(golden, kind, denses):
    pretrained = Pretrained(golden(f"{kind}-classifier")[0])
    assert pretrained.config.kind == kind
    assert all(name.startswith(("embeddings", "encoder", "pooler")) for name in pretrained.encoder())
    heads = pretrained.tensors.keys() - pretrained.encoder().keys()
    assert sorted(heads) == [f"{dense}.{part}" for dense in denses for part in ("bias", "weight")]


def test_old_layer_norm_names_and_prefixes_load_as_today_s(golden, tmp_path):
    def old(name):
        return "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    source = golden("bert")[0]
    aged = opened(copy(source, tmp_path, old), 60, pooler=True).parameters.tensors()
    for name, value in opened(source, 60, pooler=True).parameters.tensors().items():
        np.testing.assert_array_equal(aged[name], value)


def test_missing_pooler_starts_random_and_is_said(golden, tmp_path, capsys):
    def behead(tensors):
        for name in [name for name in tensors if name.startswith("pooler.")]:
            del tensors[name]

    directory = copy(golden("bert")[0], tmp_path, change=behead)
    encoder = opened(directory, 60, pooler=True)
    assert "no pooler among the weights; it starts from random values" in capsys.readouterr().err
    assert 0 < np.abs(encoder.parameters.tensors()["pooler.dense.weight"]).max() <= 0.04
    opened(directory, 60, pooler=False)
    assert capsys.readouterr().err == ""


def test_a_missing_layer_is_an_error_not_a_random_start(golden, tmp_path):
    directory = copy(
        golden("bert")[0], tmp_path, change=lambda tensors: tensors.pop("encoder.layer.1.output.dense.bias")
    )
    with pytest.raises(StorageError, match="encoder.layer.1.output.dense.bias is missing"):
        opened(directory, 60)


def test_the_same_weight_twice_is_an_error(golden, tmp_path):
    def double(tensors):
        tensors["bert.embeddings.LayerNorm.bias"] = tensors["embeddings.LayerNorm.bias"]

    with pytest.raises(StorageError, match="embeddings.LayerNorm.bias is there twice"):
        len(Pretrained(copy(golden("bert")[0], tmp_path, change=double)).tensors)


def test_vocabulary_larger_than_the_table_is_refused(golden):
    with pytest.raises(ConfigError, match="61 tokens, but the encoder embeds only 60"):
        opened(golden("bert")[0], 61)


def test_directory_without_or_with_a_broken_config_is_named(tmp_path):
    with pytest.raises(MissingError, match="no config.json"):
        assert Pretrained(tmp_path).config
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(StorageError, match="the JSON in it cannot be read"):
        assert Pretrained(tmp_path).config
    (tmp_path / "config.json").write_text(json.dumps(["bert"]))
    with pytest.raises(StorageError, match="the JSON in it is not an object"):
        assert Pretrained(tmp_path).config


def test_written_weights_build_the_same_encoder(golden, tmp_path):
    directory, _, layout = golden("electra")
    encoder = opened(directory, 60)
    write_tensors(tmp_path, encoder.parameters.tensors())
    (tmp_path / "config.json").write_text(json.dumps(family_of("electra").write(encoder.config)))
    again = opened(tmp_path, 60)
    np.testing.assert_array_equal(again.tokens(layout)[0], encoder.tokens(layout)[0])


def test_word_embeddings_look_up_rows_and_mask_padding(lay_out):
    parameters = Parameters(word_weights(20, 3, scale=0.5), seed=5, root="encoder")
    table = parameters.tensors()["word_embeddings.weight"]
    vectors, mask = WordEmbeddings(parameters).tokens(lay_out([[4, 19], [7]]))
    np.testing.assert_array_equal(vectors[0], table[[4, 19]])
    np.testing.assert_array_equal(vectors[1, 0], table[7])
    np.testing.assert_array_equal(mask, [[True, True], [True, False]])
    assert 0.04 < np.abs(table).max() <= 1.0
    assert list(parameters.variables) == ["encoder/word_embeddings"]
