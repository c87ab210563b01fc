"""DeBERTa's own rules: buckets of distances, the terms of positions one by one, blocks, leftovers, what is refused."""

from __future__ import annotations

import golden_families as golden
import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.encoders import attention
from rankcli.encoders.build import Pretrained, build_encoder
from rankcli.encoders.disentangled import Disentangled, rows_of
from rankcli.encoders.family import family_of
from rankcli.errors import ConfigError, StorageError
from rankcli.records.layout import flat, packed
from rankcli.shapes import TokenSequence
from rankcli.text.weights import read_tensors, write_tensors

STORED = golden.MODELS["deberta-v3"]["config"]
FAMILY = family_of("deberta-v2")
TERMS = (("c2p",), ("p2c",), ("p2c", "c2p"))


def read(**changed):
    return FAMILY.read(STORED | changed, "model/config.json")


def test_distances_fall_into_the_buckets_of_pytorch():
    expected = np.array(golden.GOLDEN["buckets"]["deberta_256_512_from_0"])
    far = np.arange(len(expected))
    np.testing.assert_array_equal(rows_of(far, 256, 512), np.clip(expected + 256, 0, 511))
    np.testing.assert_array_equal(rows_of(-far, 256, 512), np.clip(256 - expected, 0, 511))


def test_without_buckets_each_distance_has_a_row_until_the_table_ends():
    assert rows_of(np.array([-9, -4, -3, 0, 3, 4, 9]), 0, 4).tolist() == [0, 0, 1, 4, 7, 7, 7]


@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize(("queries", "keys", "start"), [(5, 5, (0, 0)), (3, 8, (2, 0)), (4, 9, (8, 3)), (1, 1, (0, 0))])
def test_terms_of_positions_are_the_formula_for_every_pair(terms, queries, keys, start):
    random = np.random.default_rng(3)
    query, key = (random.normal(size=(2, 3, n, 4)).astype(np.float32) for n in (queries, keys))
    tables = [random.normal(size=(3, 8, 4)).astype(np.float32) for _ in terms]
    rows = rows_of(np.arange(-12, 13), 4, 10)
    options = {"heads": 3, "scale": 1.0, "shared": False, "dropout": 0.0, "epsilon": 1e-7}
    positions = Disentangled(terms=terms, rows=tuple(rows.tolist()), **options)
    places = [first + tf.range(n) for first, n in zip(start, (queries, keys), strict=True)]
    found = positions._logits(*map(tf.constant, (query, key)), *places, *map(tf.constant, tables))
    expected = np.zeros((2, 3, queries, keys))
    for i in range(queries):
        for j in range(keys):
            row = rows[12 + start[0] + i - start[1] - j]
            for term, table in zip(terms, tables, strict=True):
                vector = query[:, :, i] if term == "c2p" else key[:, :, j]
                expected[:, :, i, j] += (vector * table[:, row]).sum(-1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("changed", [{"pos_att_type": None}, {"relative_attention": False}])
def test_without_relative_positions_terms_still_scale_the_logits(changed):
    config = read(**changed)
    block = FAMILY.block(config)
    assert block.positions is None
    assert block.scale == pytest.approx((8 * (3 if config.asked else 1)) ** -0.5)
    names = {name for weight in FAMILY.weights(config, False) for name in weight.names}
    assert ("encoder.rel_embeddings.weight" in names) == config.relative


def laid_out(form, *lengths):
    ids = [np.arange(n, dtype=np.int32) * 7 % 50 + 5 for n in lengths]
    parts = [TokenSequence(x, 0 * x, 0 * x) for x in ids]
    (layout,) = flat([parts], len(parts), 0) if form == "flat" else packed([parts], len(parts), 240, 0)
    return tf.nest.map_structure(tf.constant, layout)


@pytest.mark.parametrize("form", ["flat", "packed"])
def test_long_sequences_in_blocks_have_the_states_and_gradients_of_the_whole(form, tmp_path, monkeypatch):
    given = Pretrained(golden.written("deberta-v2-xlarge", tmp_path))
    config = FAMILY.read(given.content | {"max_position_embeddings": 1000, "num_hidden_layers": 1}, "")
    encoder, layout = build_encoder(config), laid_out(form, 70, 150)
    encoder.parameters.update(
        {f"encoder/{w.path}": golden.weight(w.path, w.shape) for w in FAMILY.weights(config, False)}
    )
    real = layout.places.numpy()[layout.places.numpy() >= 0]

    def computed():
        with tf.GradientTape() as tape:
            states = tf.gather(encoder.states(layout)[0], real)
            loss = tf.reduce_sum(tf.sin(states))
        return [states, *map(tf.convert_to_tensor, tape.gradient(loss, [*encoder.parameters.variables.values()]))]

    whole = computed()
    monkeypatch.setattr(attention, "WHOLE", 64)
    for found, expected in zip(tf.function(computed)(), whole, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4 * (1 + np.abs(expected).max()))


def test_a_table_of_absolute_positions_that_is_not_used_is_passed_over(tmp_path):
    directory = golden.written("deberta-v3", tmp_path)
    left = {"deberta.embeddings.position_embeddings.weight": np.ones((40, 16), np.float32)}
    write_tensors(directory, dict(read_tensors(directory)) | left)
    given = Pretrained(directory)
    tensors = build_encoder(given.config, given).parameters.tensors()
    assert len(tensors) == len(given.encoder()) - 1
    with pytest.raises(StorageError, match="embeddings.token_type_embeddings.weight is not a weight of this encoder"):
        write_tensors(
            directory,
            dict(read_tensors(directory)) | {"deberta.embeddings.token_type_embeddings.weight": left.popitem()[1]},
        )
        build_encoder(given.config, Pretrained(directory))


def test_terms_are_a_list_or_a_text_with_bars():
    for given in ("c2p|p2c", "p2c | c2p", ["c2p", "p2c"]):
        assert read(pos_att_type=given) == read()
    assert read(norm_rel_ebd="none").normed is False


def test_all_that_is_not_supported_is_one_error():
    wrong = {
        "pos_att_type": ["p2p", "c2p"],
        "norm_rel_ebd": "batch_norm",
        "hidden_act": "swish",
        "pooler_hidden_size": 8,
        "attention_head_size": 4,
        "conv_groups": 2,
        "conv_kernel_size": 4,
        "position_buckets": 64,
        "share_att_key": "yes",
    }
    with pytest.raises(ConfigError) as caught:
        read(**wrong)
    assert caught.value.where == "model/config.json"
    assert caught.value.what == (
        "share_att_key 'yes': supported are False, True; hidden_act 'swish': supported are gelu, gelu_new, relu; "
        "attention_head_size 4: with these sizes only 8 is supported; pooler_hidden_size 8: with these sizes only 16 "
        "is supported; conv_groups 2: with these sizes only 1 is supported; conv_kernel_size is not odd; pos_att_type "
        "['p2p', 'c2p']: supported are c2p and p2c; norm_rel_ebd ['batch_norm']: supported are none and layer_norm; "
        "position_buckets must be at least 2, and fewer than twice the distances"
    )


def test_it_has_no_pooler():
    with pytest.raises(ConfigError, match="pooling: deberta-v2 encoders have no pooler"):
        FAMILY.weights(read(), pooler=True)
