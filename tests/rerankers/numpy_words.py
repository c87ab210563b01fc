"""Rerankers on words once more, in NumPy and float64, one query and one document at a time, from the saved tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

Tensors = Mapping[str, np.ndarray]


def vectors(tensors: Tensors, ids: np.ndarray) -> np.ndarray:
    """The vectors of words, zeros for unknown ones."""
    table = tensors["word_embeddings.weight"].astype(np.float64)
    return np.array([table[i] if i < len(table) else np.zeros(table.shape[1]) for i in ids]).reshape(-1, table.shape[1])


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of length 1; zeros stay zeros."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def similarity(tensors: Tensors, query: np.ndarray, doc: np.ndarray) -> np.ndarray:
    """Cosines, and 1 for the same word."""
    cosines = unit(vectors(tensors, query)) @ unit(vectors(tensors, doc)).T
    return np.where(query[:, None] == doc[None], 1.0, cosines)


def counts(tensors: Tensors, similarities: np.ndarray) -> np.ndarray:
    """Soft counts [Lq, kernels], term by term."""
    kernels = list(zip(tensors["kernels.mu"].astype(float), tensors["kernels.sigma"].astype(float), strict=True))
    rows = [
        [sum(math.exp(-((s - mu) ** 2) / (2 * sigma**2)) for s in row) for mu, sigma in kernels] for row in similarities
    ]
    return np.array(rows).reshape(-1, len(kernels))


def knrm(tensors: Tensors, query: np.ndarray, doc: np.ndarray, idf: np.ndarray | None = None) -> float:
    """Kernel pooling."""
    weight = np.ones(len(query)) if idf is None else idf[query]
    phi = 0.01 * weight @ np.log(np.maximum(counts(tensors, similarity(tensors, query, doc)), 1e-10))
    return float(tensors["output.weight"][0] @ phi + tensors["output.bias"][0])
