"""Models and scores of sentence-transformers: run by the Python of an environment that has it, not by pytest.

    peer_side.py save crossencoder|biencoder|dense|electra SOURCE TARGET
    peer_side.py score crossencoder|biencoder MODEL TEXTS RESULT

TEXTS is a JSON file {"queries": [...], "docs": [...]} of as many queries as documents; RESULT is written as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import sentence_transformers
import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer, models


def save(kind: str, source: str, target: str) -> None:
    """Save a model of `kind` with the weights of SOURCE, for `electra` random ones beside the tokenizer of SOURCE, for
    `dense` random dense layers behind them.
    """
    torch.manual_seed(3)
    if kind == "dense":
        model = SentenceTransformer(source, device="cpu")
        width = model.get_sentence_embedding_dimension()
        layers = [models.Dense(width, 7), models.Dense(7, 5, bias=False, activation_function=torch.nn.Identity())]
        SentenceTransformer(modules=[*list(model)[:2], *layers, models.Normalize()]).save_pretrained(target)
        return
    if kind == "biencoder":
        SentenceTransformer(source, device="cpu").save_pretrained(target)
        return
    if kind == "electra":
        source = electra(source, f"{target}-source")
    model = CrossEncoder(source, num_labels=1, device="cpu")
    for name, weight in model.named_parameters():
        if "classifier" in name:  # far from zero, so that scores differ clearly
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(target)


def electra(source: str, target: str) -> str:
    """A tiny ELECTRA, with embeddings narrower than its layers."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    config = transformers.ElectraConfig(
        vocab_size=len(tokenizer),
        embedding_size=8,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.3,
        num_labels=1,
    )
    transformers.ElectraForSequenceClassification(config).save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


def score(kind: str, model: str, texts: str, result: str) -> None:
    """Write the score of each pair: a cross-encoder's logit and what its own activation makes of it, or a cosine."""
    content = json.loads(Path(texts).read_text())
    queries, docs = content["queries"], content["docs"]
    values = {"versions": {m.__name__: m.__version__ for m in (sentence_transformers, torch, transformers)}}
    if kind == "crossencoder":
        opened = CrossEncoder(model, device="cpu")
        pairs = list(zip(queries, docs, strict=True))
        values["scores"] = opened.predict(pairs, activation_fn=torch.nn.Identity()).tolist()
        values["activated"] = opened.predict(pairs).tolist()
    else:
        opened = SentenceTransformer(model, device="cpu")
        values["scores"] = opened.similarity_pairwise(
            opened.encode_query(queries), opened.encode_document(docs)
        ).tolist()
    values["max_seq_length"] = opened.max_seq_length
    Path(result).write_text(json.dumps(values))


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"save": save, "score": score}[sys.argv[1]](*sys.argv[2:])
