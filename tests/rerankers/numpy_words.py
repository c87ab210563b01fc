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


def conv_knrm(tensors: Tensors, query: np.ndarray, doc: np.ndarray, cross: bool = True) -> float:
    """Kernel pooling of n-grams; those of unknown words alone are zeros."""
    known = len(tensors["word_embeddings.weight"])

    def grams(ids: np.ndarray, h: int) -> np.ndarray:
        kernel, bias = tensors[f"ngram_{h}.weight"], tensors[f"ngram_{h}.bias"]  # [F, D, h]
        x = np.concatenate([vectors(tensors, ids), np.zeros((h - 1, kernel.shape[1]))])
        rows = [
            np.maximum(sum(kernel[:, :, n] @ x[i + n] for n in range(h)) + bias, 0) * (ids[i : i + h] < known).any()
            for i in range(len(ids))
        ]
        return np.array(rows).reshape(-1, len(bias))

    phi = []
    lengths = [h for h in range(1, 9) if f"ngram_{h}.weight" in tensors]
    for h in lengths:
        for other in lengths if cross else [h]:
            similarities = unit(grams(query, h)) @ unit(grams(doc, other)).T
            if h == other == 1:
                similarities[(query[:, None] == doc[None]) & (query[:, None] >= known)] = 1
            phi.append(0.01 * np.log(np.maximum(counts(tensors, similarities), 1e-10)).sum(0))
    return float(tensors["output.weight"][0] @ np.concatenate(phi) + tensors["output.bias"][0])


def gate(tensors: Tensors, query: np.ndarray, idf: np.ndarray | None) -> np.ndarray:
    """The shares of query words, by idf or by vectors."""
    weight = tensors["gate"].astype(float)
    return softmax(vectors(tensors, query) @ weight if idf is None else weight * idf[query])


def softmax(x: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def dense(tensors: Tensors, name: str, x: np.ndarray) -> np.ndarray:
    """A dense layer."""
    return x @ tensors[f"{name}.weight"].T.astype(float) + tensors[f"{name}.bias"]


def histograms(tensors: Tensors, query: np.ndarray, doc: np.ndarray, bins: int) -> np.ndarray:
    """Counts of cosines in equal bins, and of the same word in one more."""
    cosines = unit(vectors(tensors, query)) @ unit(vectors(tensors, doc)).T
    found = np.zeros((len(query), bins + 1))
    for i, j in np.ndindex(cosines.shape):
        inside = min(max(int((cosines[i, j] + 1) / 2 * bins), 0), bins - 1)
        found[i, bins if query[i] == doc[j] else inside] += 1
    return found


def drmm(tensors: Tensors, query: np.ndarray, doc: np.ndarray, kind: str, idf: np.ndarray | None) -> float:
    """A net over histograms, and a gate."""
    found = histograms(tensors, query, doc, tensors["hidden.weight"].shape[1] - 1)
    total = np.maximum(found.sum(1, keepdims=True), 1)
    read = {"CH": found, "NH": found / total, "LCH": np.log(1 + found)}[kind]
    values = np.tanh(dense(tensors, "output", np.tanh(dense(tensors, "hidden", read))))[:, 0]
    return float(gate(tensors, query, idf) @ values)


def k_max(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The greatest values of each row and their places, -1 and value 0 for those that are missing."""
    order = np.argsort(-rows, axis=1, kind="stable")[:, :k]
    places = np.full((len(rows), k), -1)
    places[:, : order.shape[1]] = order
    values = np.where(places < 0, 0.0, np.take_along_axis(np.pad(rows, ((0, 0), (0, 1))), places, axis=1))
    return values, places


def drmmtks(tensors: Tensors, query: np.ndarray, doc: np.ndarray, idf: np.ndarray | None = None) -> float:
    """A net over the greatest similarities, and a gate."""
    found, _ = k_max(similarity(tensors, query, doc), tensors["hidden.weight"].shape[1])
    values = np.tanh(dense(tensors, "output", np.tanh(dense(tensors, "hidden", found))))[:, 0]
    return float(gate(tensors, query, idf) @ values)


def pacrr_rows(
    tensors: Tensors,
    query: np.ndarray,
    doc: np.ndarray,
    idf: np.ndarray,
    *,
    k: int = 2,
    parts: tuple[float, ...] = (1.0,),
    context: bool = False,
) -> np.ndarray:
    """The features of each query word."""
    similarities = similarity(tensors, query, doc)
    grams = [similarities]
    for n in range(2, 9):
        if f"ngram_{n}.weight" not in tensors:
            break
        kernel, bias = tensors[f"ngram_{n}.weight"].T, tensors[f"ngram_{n}.bias"]
        padded = np.pad(similarities, ((0, n - 1), (0, n - 1)))
        grams.append(np.zeros_like(similarities))
        for i, j in np.ndindex(similarities.shape):
            filtered = [(padded[i : i + n, j : j + n] * kernel[:, :, f]).sum() + bias[f] for f in range(len(bias))]
            grams[-1][i, j] = max(0.0, *filtered)
    words = vectors(tensors, doc)
    around = np.array([words[max(j - 4, 0) : j + 5].mean(0) for j in range(len(doc))]).reshape(-1, words.shape[1])
    contexts = np.append(unit(around) @ unit(vectors(tensors, query).mean(0)), 0.0)
    found = []
    for matrix in grams:
        for part in parts:
            values, places = k_max(matrix[:, : math.ceil(part * len(doc))], k)
            found += [values, contexts[places]] if context else [values]
    return np.concatenate([*found, softmax(idf[query])[:, None]], axis=1)


def pacrr(
    tensors: Tensors, query: np.ndarray, doc: np.ndarray, idf: np.ndarray, places: int, **options: object
) -> float:
    """Dense layers over the features of all places of a query."""
    rows = pacrr_rows(tensors, query, doc, idf, **options)
    hidden = np.zeros((places, rows.shape[1]))
    hidden[: len(rows)] = rows
    for name in ("hidden_1", "hidden_2"):
        hidden = np.maximum(dense(tensors, name, hidden.reshape(-1)), 0)
    return float(dense(tensors, "output", hidden)[0])


def tk_contexts(tensors: Tensors, ids: np.ndarray, heads: int) -> np.ndarray:
    """Word vectors with positions, through layers with norms after the sums."""
    x = vectors(tensors, ids)
    length, half = len(ids), x.shape[1] // 2
    for position, wave in np.ndindex(length, half):
        angle = position * 10_000 ** (-wave / max(half - 1, 1))
        x[position, wave] += math.sin(angle)
        x[position, half + wave] += math.cos(angle)

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    for n in range(9):
        layer = f"layer_{n}"
        if f"{layer}.attention.qkv.weight" not in tensors:
            break
        parts = np.split(dense(tensors, f"{layer}.attention.qkv", x), 3, axis=-1)
        query, key, value = (part.reshape(length, heads, -1).transpose(1, 0, 2) for part in parts)
        attended = softmax(query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])) @ value
        attended = attended.transpose(1, 0, 2).reshape(x.shape)
        x = norm(x + dense(tensors, f"{layer}.attention.output", attended), f"{layer}.attention.layer_norm")
        inner = np.maximum(dense(tensors, f"{layer}.intermediate", x), 0)
        x = norm(x + dense(tensors, f"{layer}.output", inner), f"{layer}.layer_norm")
    return x


def tk(tensors: Tensors, query: np.ndarray, doc: np.ndarray, heads: int) -> float:
    """Kernels over words in their contexts."""
    alpha, scale = (float(tensors[name][0]) for name in ("alpha", "scale"))
    states = [
        alpha * vectors(tensors, ids) + (1 - alpha) * (tk_contexts(tensors, ids, heads) if len(ids) else 0.0)
        for ids in (query, doc)
    ]
    similarities = unit(states[0]) @ unit(states[1]).T
    unknown = query >= len(tensors["word_embeddings.weight"])
    similarities[(query[:, None] == doc[None]) & unknown[:, None]] = 1
    mus = np.array([-0.9, -0.7, -0.5, -0.3, -0.1, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
    found = counts({"kernels.mu": mus, "kernels.sigma": np.full(11, 0.1)}, similarities)
    by_log = scale * np.log2(np.maximum(found, 1e-10)).sum(0) @ tensors["log"]
    by_length = scale * found.sum(0) / max(len(doc), 1) @ tensors["length"]
    return float(tensors["combine"] @ [by_log, by_length])
