"""The models once more, in NumPy, one unpadded sequence at a time, from the tensors that are saved."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

Tensors = Mapping[str, np.ndarray]

_erf = np.vectorize(math.erf)


def bert_states(
    tensors: Tensors, ids: np.ndarray, segments: np.ndarray, heads: int, seen: np.ndarray | bool = True
) -> np.ndarray:
    """The last layer's states [T, D]; names without model prefix. `seen` is False at tokens that none attends to."""
    return bert_layers(tensors, ids, segments, heads, seen)[-1]


def bert_layers(
    tensors: Tensors, ids: np.ndarray, segments: np.ndarray, heads: int, seen: np.ndarray | bool = True
) -> list[np.ndarray]:
    """The states after the embeddings and after each layer."""
    return stacked(tensors, embedded(tensors, ids, segments), heads, seen)


def embedded(tensors: Tensors, ids: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """The states after the embeddings."""

    def table(name):
        return tensors[f"embeddings.{name}_embeddings.weight"]

    summed = table("word")[ids] + table("position")[: len(ids)] + table("token_type")[segments]
    return normed(tensors, summed, "embeddings.LayerNorm")


def normed(tensors: Tensors, x: np.ndarray, name: str) -> np.ndarray:
    """A normalisation of the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def stacked(tensors: Tensors, x: np.ndarray, heads: int, seen: np.ndarray | bool = True) -> list[np.ndarray]:
    """The vectors of a sequence, and those after each layer."""
    found = [x]
    for n in range(depth(tensors)):
        found.append(layer(tensors, n, found[-1], found[-1], heads, seen))
    return found


def depth(tensors: Tensors) -> int:
    """The number of layers."""
    return sum(name.endswith("attention.self.query.weight") for name in tensors)


def layer(
    tensors: Tensors, n: int, x: np.ndarray, read: np.ndarray, heads: int, seen: np.ndarray | bool = True
) -> np.ndarray:
    """The vectors x [T, D] after layer n; keys and values are those of the vectors `read` [S, D]."""
    name = f"encoder.layer.{n}"

    def dense(x, part):
        return x @ tensors[f"{name}.{part}.weight"].T + tensors[f"{name}.{part}.bias"]

    parts = [dense(x, "attention.self.query"), *(dense(read, f"attention.self.{part}") for part in ("key", "value"))]
    query, key, value = (part.reshape(len(part), heads, -1).transpose(1, 0, 2) for part in parts)
    blocked = np.where(seen, 0.0, -np.inf)
    context = softmax(query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1]) + blocked) @ value
    context = context.transpose(1, 0, 2).reshape(x.shape)
    x = normed(tensors, x + dense(context, "attention.output.dense"), f"{name}.attention.output.LayerNorm")
    return normed(tensors, x + dense(gelu(dense(x, "intermediate.dense")), "output.dense"), f"{name}.output.LayerNorm")


def bert_logit(tensors: Tensors, ids: np.ndarray, segments: np.ndarray, heads: int) -> float:
    """The logit of a `BertForSequenceClassification` with one label."""
    encoder = {name.removeprefix("bert."): value for name, value in tensors.items()}
    return classified(encoder, bert_states(encoder, ids, segments, heads)[0])


def classified(encoder: Tensors, first: np.ndarray) -> float:
    """The logit of BERT's classifier of one label, from the state of the first token."""
    pooled = np.tanh(first @ encoder["pooler.dense.weight"].T + encoder["pooler.dense.bias"])
    return float((pooled @ encoder["classifier.weight"].T + encoder["classifier.bias"])[0])


def softmax(x: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def gelu(x: np.ndarray) -> np.ndarray:
    """By the error function."""
    return x * (1 + _erf(x / math.sqrt(2))) / 2
