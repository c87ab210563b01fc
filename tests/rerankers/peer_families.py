"""Tiny classifiers of transformers, and their scores in sentence-transformers: run as `peer_side.py` is.

    peer_families.py TARGET MODEL_TYPE=SOURCE ...

Beside the tokenizer of each SOURCE, TARGET/MODEL_TYPE/crossencoder gets a `CrossEncoder` of that type with random
weights, TARGET/MODEL_TYPE/modules one whose classifier is a chain of modules, and TARGET/MODEL_TYPE/biencoder a
`SentenceTransformer` with its encoder. Of T5 there are no classifiers of one module.
"""

from __future__ import annotations

import sys

import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Pooling, Transformer

LONGEST = 320  # tokens
USUAL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SIZES = {
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "electra": {**USUAL, "embedding_size": 8},
    "albert": {**USUAL, "embedding_size": 8},
    "modernbert": {**USUAL, "local_attention": 8, "classifier_pooling": "mean"},
    "deberta-v2": {
        **USUAL,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "t5": {"d_model": 16, "d_kv": 6, "d_ff": 32, "num_layers": 2, "num_heads": 2, "feed_forward_proj": "gated-gelu"},
}
STD = {"xlm-roberta": 0.4}  # with more, rounding grows to 1e-4 of a score
CLASSIFIER = transformers.AutoModelForSequenceClassification.from_config


def make(kind: str, source: str, target: str) -> None:
    """Save both models of a type."""
    torch.manual_seed(3)
    tokenizer = transformers.AutoTokenizer.from_pretrained(source, model_max_length=LONGEST)
    config = transformers.AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        max_position_embeddings=LONGEST + 2,  # RoBERTa's positions begin at 2
        pad_token_id=tokenizer.pad_token_id,
        num_labels=1,
        **SIZES.get(kind, {**USUAL, "layer_norm_eps": 1e-5}),
    )
    kind_of_model = transformers.T5EncoderModel._from_config if kind == "t5" else CLASSIFIER
    model = kind_of_model(config)
    for name, weight in model.named_parameters():
        if "norm" not in name.lower():
            torch.nn.init.normal_(weight, std=STD.get(kind, 0.6))  # far from zero, so that scores differ clearly
    model.save_pretrained(f"{target}/plain")
    tokenizer.save_pretrained(f"{target}/plain")
    if kind != "t5":
        CrossEncoder(f"{target}/plain", num_labels=1, device="cpu").save_pretrained(f"{target}/crossencoder")
    modules = [
        Transformer(f"{target}/plain"),
        Pooling(16, "mean"),
        Dense(16, 12, bias=False, activation_function=torch.nn.GELU()),
        LayerNorm(12),
        Dense(12, 1, activation_function=torch.nn.Identity(), module_output_name="scores"),
    ]
    CrossEncoder(modules=modules, device="cpu").save_pretrained(f"{target}/modules")
    SentenceTransformer(f"{target}/plain", device="cpu").save_pretrained(f"{target}/biencoder")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for word in sys.argv[2:]:
        named, _, place = word.partition("=")
        make(named, place, f"{sys.argv[1]}/{named}")
