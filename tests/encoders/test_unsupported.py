"""Hostile and odd config.json files: each ends with one error that lists every setting that is not supported."""

from __future__ import annotations

import json

import golden_families as golden
import pytest

from rankcli.encoders.build import Pretrained
from rankcli.errors import ConfigError, RankcliError

BERT, ELECTRA, ROBERTA, DISTILBERT, MPNET, ALBERT, MODERNBERT, DEBERTA = (
    golden.MODELS[name]["config"]
    for name in ("bert", "electra", "roberta", "distilbert", "mpnet", "albert", "modernbert", "deberta-v3")
)
T5 = {"model_type": "t5", "vocab_size": 60, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
CODE = {"AutoModelForSequenceClassification": "modeling.Own"}
CASES = {
    # code of its own, decoders, other architectures: refused by name, with the nearest model that works
    "jina v1: ALiBi under the name of BERT": (
        {**BERT, "position_embedding_type": "alibi", "auto_map": CODE, "max_position_embeddings": 8192},
        ["'alibi': only absolute", "auto_map: code of its own", "modeling.Own", "gte-reranker-modernbert-base"],
    ),
    "jina v2": ({"model_type": "xlm-roberta-flash", "auto_map": CODE}, ["'xlm-roberta-flash'", "auto_map", "bge-"]),
    "jina v3, a listwise decoder": (
        {"model_type": "qwen3", "architectures": ["JinaForRanking"], "auto_map": CODE},
        ["'qwen3', a decoder", "auto_map", "ettin-reranker-1b-v1"],
    ),
    "Qwen3-Reranker": ({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}, ["a decoder", "ettin"]),
    "mxbai v2": ({"model_type": "qwen2"}, ["'qwen2', a decoder"]),
    "bge gemma": ({"model_type": "gemma2"}, ["'gemma2', a decoder"]),
    "llama-nemotron": ({"model_type": "llama_bidirec", "auto_map": CODE}, ["'llama_bidirec'", "auto_map"]),
    "a quantised decoder": (
        {"model_type": "llama", "quantization_config": {"quant_method": "gptq", "bits": 4}},
        ["'llama', a decoder", "weights are quantised (gptq)"],
    ),
    "GTE multilingual": ({"model_type": "new", "auto_map": CODE}, ["'new'", "auto_map", "bge-reranker-v2-m3"]),
    "GTE in transformers": ({"model_type": "gte"}, ["'gte'", "bge-reranker-v2-m3"]),
    "Nomic": ({"model_type": "nomic_bert"}, ["'nomic_bert'"]),
    "Longformer": ({"model_type": "longformer"}, ["'longformer'", "gte-reranker-modernbert-base"]),
    "DeBERTa v1": ({"model_type": "deberta"}, ["'deberta'"]),
    "BART": ({"model_type": "bart"}, ["'bart', an encoder with a decoder"]),
    "mT5": ({"model_type": "mt5"}, ["'mt5'", "bge-reranker-v2-m3"]),
    "images": ({"model_type": "clip"}, ["'clip', a model of images"]),
    "a type that nobody knows": ({"model_type": "quux"}, ["'quux'; supported are albert, bert", "MiniLM-L6-v2"]),
    "no type": ({"hidden_size": 4}, ["model_type is missing; supported are"]),
    "a type that is no text": ({"model_type": ["bert"]}, ["['bert']; supported are"]),
    # settings of families that are supported
    "quantised weights": ({**BERT, "quantization_config": {"quant_method": "awq"}}, ["weights are quantised (awq)"]),
    "pruned heads": ({**BERT, "pruned_heads": {"1": [0]}}, ["pruned_heads {'1': [0]}"]),
    "a BERT decoder": ({**BERT, "is_decoder": True}, ["a decoder; only encoders"]),
    "cross attention": ({**ROBERTA, "add_cross_attention": True}, ["a decoder; only encoders"]),
    "a ModernBERT decoder": ({**MODERNBERT, "is_decoder": True}, ["a decoder; only encoders"]),
    "ELECTRA with code": (
        {**ELECTRA, "auto_map": "own.py"},
        ["code of its own, which is never run (own.py)"],
    ),
    "everything at once": (
        {**BERT, "hidden_act": "mish", "num_attention_heads": 7, "layer_norm_eps": -1, "vocab_size": "many"},
        ["hidden_act 'mish'", "is not a multiple", "layer_norm_eps is -1", "vocab_size is 'many'"],
    ),
    "a size of 0": ({**DISTILBERT, "dim": 0}, ["dim is 0"]),
    "a size that is no number": ({**MPNET, "hidden_size": True}, ["hidden_size is True"]),
    "an infinite size": ({**ALBERT, "intermediate_size": float("inf")}, ["intermediate_size is inf"]),
    "no place for a token": ({**ROBERTA, "max_position_embeddings": 2}, ["leaves no position"]),
    "relative keys in BERT": ({**BERT, "position_embedding_type": "relative_key"}, ["'relative_key'"]),
    "MPNet with other buckets": ({**MPNET, "relative_attention_num_buckets": 64}, ["64: supported are 32"]),
    "ModernBERT with biases": (
        {**MODERNBERT, "norm_bias": True, "mlp_bias": True, "hidden_activation": "mish", "classifier_pooling": "last"},
        ["norm_bias", "mlp_bias", "hidden_activation 'mish'", "classifier_pooling 'last'"],
    ),
    "ModernBERT with scaled positions": (
        {**MODERNBERT, "rope_parameters": {"full_attention": {"rope_type": "yarn"}}},
        ["rope_parameters of full_attention {'rope_type': 'yarn'}"],
    ),
    "DeBERTa with other terms": (
        {**DEBERTA, "pos_att_type": ["p2p"], "conv_kernel_size": 4, "norm_rel_ebd": "batch"},
        ["pos_att_type ['p2p']", "conv_kernel_size is not odd", "norm_rel_ebd"],
    ),
    "T5 with another gate": ({**T5, "feed_forward_proj": "gated-mish"}, ["feed_forward_proj 'gated-mish'"]),
    "T5 without buckets": ({**T5, "relative_attention_num_buckets": 2}, ["must be at least 4"]),
}


@pytest.mark.parametrize("name", CASES)
def test_one_error_names_every_setting_that_is_not_supported(tmp_path, name):
    content, parts = CASES[name]
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError) as refused:
        _ = Pretrained(tmp_path).config
    said = str(refused.value)
    assert refused.value.exit_code == 2 and refused.value.where == str(tmp_path / "config.json")
    assert all(part in said for part in parts), said
    assert "the nearest model that works" in refused.value.fix


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model_type": "bert",}', "\xff\xfe", "[" * 5000], ids=range(6))
def test_a_file_that_is_no_object_is_one_error(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(RankcliError) as refused:
        _ = Pretrained(tmp_path).config
    assert "config.json" in str(refused.value)


def test_the_configurations_that_were_changed_are_read_unchanged():
    from rankcli.encoders.family import family_in

    for content in (BERT, ELECTRA, ROBERTA, DISTILBERT, MPNET, ALBERT, MODERNBERT, DEBERTA, T5):
        assert family_in(content).read(content, "config.json").kind == content["model_type"]
