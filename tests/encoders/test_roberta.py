"""RoBERTa's own rules: the rows of its position table, its namesakes, what it has not."""

from __future__ import annotations

import golden_families as golden
import numpy as np
import pytest
from golden_families import MODELS

from rankcli.encoders.build import Pretrained, build_encoder
from rankcli.encoders.family import family_of
from rankcli.errors import ConfigError

STORED = MODELS["roberta"]["config"]


@pytest.mark.parametrize(("pad", "longest"), [(1, 38), (0, 39), (7, 32)])
def test_the_longest_sequence_has_the_rows_after_that_of_padding(pad, longest):
    config = family_of("roberta").read(STORED | {"pad_token_id": pad}, "")
    assert (config.max_positions, family_of("roberta").write(config)["max_position_embeddings"]) == (longest, 40)
    config.check_fit(60, longest)
    with pytest.raises(ConfigError, match=f"sequences of {longest + 1} tokens, but the encoder has only {longest}"):
        config.check_fit(60, longest + 1)


def test_padding_is_token_1_where_config_json_does_not_say():
    content = {key: value for key, value in STORED.items() if key != "pad_token_id"}
    assert family_of("roberta").read(content, "").pad_token_id == 1


def test_a_table_without_rows_after_padding_is_refused_with_the_rest():
    wrong = {"max_position_embeddings": 2, "hidden_act": "swish", "is_decoder": True}
    with pytest.raises(ConfigError) as caught:
        family_of("roberta").read(STORED | wrong, "model/config.json")
    assert caught.value.what == (
        "hidden_act 'swish': supported are gelu, gelu_new, relu; max_position_embeddings leaves no position after that "
        "of padding; a decoder; only encoders are supported"
    )


def test_camembert_is_the_same_under_another_name(tmp_path):
    config = family_of("camembert").read(STORED | {"model_type": "camembert"}, "")
    assert family_of("camembert").architecture == "CamembertModel"
    assert family_of("camembert").head(config).architecture == "CamembertForSequenceClassification"
    given = Pretrained(golden.written("roberta", tmp_path))
    ours, theirs = build_encoder(config, given).parameters.tensors(), given.encoder()
    assert all(np.array_equal(value, theirs[name]) for name, value in ours.items()) and len(ours) == len(theirs)


def test_it_has_no_pooler():
    with pytest.raises(ConfigError, match="pooling: xlm-roberta encoders have no pooler"):
        family_of("xlm-roberta").weights(
            family_of("xlm-roberta").read(MODELS["xlm-roberta"]["config"], ""), pooler=True
        )
