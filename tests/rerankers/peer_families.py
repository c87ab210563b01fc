"""Tiny classifiers of transformers, and their scores in sentence-transformers: run as `peer_side.py` is.

    peer_families.py TARGET MODEL_TYPE=SOURCE ...

Beside the tokenizer of each SOURCE, TARGET/MODEL_TYPE/crossencoder gets a `CrossEncoder` of that type with random
weights, TARGET/MODEL_TYPE/biencoder a `SentenceTransformer` with its encoder.
"""

from __future__ import annotations

import sys

import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer

USUAL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SIZES = {
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "electra": {**USUAL, "embedding_size": 8},
    "albert": {**USUAL, "embedding_size": 8},
}


def make(kind: str, source: str, target: str) -> None:
    """Save both models of a type."""
    torch.manual_seed(3)
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    config = transformers.AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=1,
        **SIZES.get(kind, {**USUAL, "layer_norm_eps": 1e-5}),
    )
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    for name, weight in model.named_parameters():
        if "norm" not in name.lower():
            torch.nn.init.normal_(weight, std=0.6)  # far from zero, so that scores differ clearly
    model.save_pretrained(f"{target}/plain")
    tokenizer.save_pretrained(f"{target}/plain")
    CrossEncoder(f"{target}/plain", num_labels=1, device="cpu").save_pretrained(f"{target}/crossencoder")
    SentenceTransformer(f"{target}/plain", device="cpu").save_pretrained(f"{target}/biencoder")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for word in sys.argv[2:]:
        named, _, place = word.partition("=")
        make(named, place, f"{sys.argv[1]}/{named}")
