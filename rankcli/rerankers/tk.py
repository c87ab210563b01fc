"""Kernel pooling over words in their contexts, by a small transformer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS, option
from rankcli.config.types import PositiveInt
from rankcli.encoders import layers
from rankcli.encoders.attention import Attention
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.layouts import by_sequence
from rankcli.encoders.weights import Weight
from rankcli.extractors.base import sequence_spec
from rankcli.rerankers._kernels import FLOOR, MUS, SCALE, soft_counts
from rankcli.rerankers._words import Pairs, Texts, WordOptions, WordReranker
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.ops import Tensor
from rankcli.shapes import Floats

_WIDTHS = np.full(len(MUS), 0.1, np.float32)
_BLOCK = layers.Block(activation="relu", epsilon=1e-5)  # the layer of PyTorch, without dropout


@RERANKERS.register("TK")
@dataclass(frozen=True, kw_only=True)
class TK(WordOptions):
    """Transformer-kernel model (Hofstaetter et al., ECAI 2020, equations 1 to 9).

    t = a e + (1 - a) TF(e + positions): word vectors e, mixed with their contexts by one trained number a. Kernels
    count the cosines of all t of query and document, K_ik = sum_j exp(-(S_ij - mu_k)^2 / (2 sigma^2)), all with sigma
    0.1. With s_log = c sum_i log2 max(K_i, 1e-10) and s_len = c sum_i K_i / (words of the document), the score is
    b_1 w_log . s_log + b_2 w_len . s_len; c is trained, too, from 0.01 on.

    Where implementations differ: the transformer is PyTorch's layer with norms after the sums and ReLU (the authors'
    `tk_native`). Their code divides by the words plus 1, to survive empty documents; here by the words, as in the
    paper. Their division by 2 sigma^2 is inside the exponential; Capreolus' is outside. b starts at (1, 1). The same
    unknown word has similarity 1, others are compared by their contexts.
    """

    version: ClassVar[int] = 1
    tiny: ClassVar[Mapping[str, Any]] = {"dim": 8, "ffdim": 6, "numlayers": 1, "numattheads": 2}
    dim: PositiveInt = option(300, "size of the word embeddings; that of extractor.vectors if they are given")
    finetune: bool = option(True, "train the embeddings")
    numlayers: PositiveInt = option(2, "layers of the transformer")
    numattheads: PositiveInt = option(10, "heads of its attention")
    ffdim: PositiveInt = option(100, "hidden values of its feed-forward nets")
    alpha: float = option(0.5, "share of the word vectors, without context, at the start")

    def __post_init__(self) -> None:
        if self.dim % self.numattheads:
            raise ValueError(f"dim must be a multiple of numattheads: {self.dim} is not one of {self.numattheads}")

    def build(self, ctx: RerankerContext) -> TKModel:
        """Make the embeddings, the transformer and the weights of kernels."""
        return TKModel(self, ctx)


class TKModel(WordReranker):
    """Word embeddings, a transformer, and weights of fixed kernels."""

    def __init__(self, options: TK, ctx: RerankerContext) -> None:
        paths = [f"layer_{n}" for n in range(options.numlayers)]
        weights = [
            weight for path in paths for weight in layers.layer_weights(_BLOCK, path, options.dim, options.ffdim)
        ]
        context = ctx.parameters(weights, scale=options.dim**-0.5, root="encoder/context")
        super().__init__(ctx, options.dim, options.finetune, _head(options.alpha), {"encoder/context": context})
        self._stack, self._heads = layers.Stack(context, [(path, _BLOCK) for path in paths]), options.numattheads
        self._longest = max(sequence_spec(ctx.extractor, field).max_length for field in options.fields)
        self._positions = sinusoids(self._longest, options.dim)

    def scored(self, pairs: Pairs, dropout: Dropout | None) -> Tensor:
        """Compute the scores."""
        cosines = pairs.cosines(self.states(pairs.query), self.states(pairs.doc))
        similarity = tf.where(pairs.same_unknown, 1.0, cosines)
        counts = soft_counts(similarity, pairs.doc_mask[:, None], MUS, _WIDTHS) * pairs.query_mask[..., None]
        logs = tf.math.log(tf.maximum(counts, FLOOR)) / math.log(2) * pairs.query_mask[..., None]
        length = tf.maximum(tf.reduce_sum(pairs.doc_mask, axis=-1), 1.0)
        by_log, by_length = self._sum(logs, "log"), self._sum(counts, "length") / length
        share = self.head.exact("combine")
        return share[0] * by_log + share[1] * by_length

    def states(self, texts: Texts) -> Tensor:
        """Return the words in their contexts, [N, L, D]."""
        alpha = self.head.exact("alpha")
        return alpha * texts.vectors + (1 - alpha) * self.contexts(texts)

    def contexts(self, texts: Texts) -> Tensor:
        """Return the transformer's output for each word, [N, L, D]."""
        layout = texts.layout
        places = tf.gather(self._positions, tf.reshape(layout.positions, [-1]))
        states = self.words.vectors(tf.reshape(layout.ids, [-1])) + places
        (states,) = self._stack(states, Attention(layout, self._heads, self._longest))
        return by_sequence(states, layout)

    def _sum(self, values: Tensor, path: str) -> Tensor:
        scaled = self.head.exact("scale") * tf.reduce_sum(values, axis=1)
        return tf.tensordot(scaled, self.head.exact(path), 1)


def _head(alpha: float) -> list[Weight]:
    return [
        Weight("alpha", (1,), ("alpha",), (alpha,)),
        Weight("scale", (1,), ("scale",), (SCALE,)),
        *(Weight(path, MUS.shape, (path,), "normal", scale=0.01) for path in ("log", "length")),
        Weight("combine", (2,), ("combine",), "ones"),
    ]


def sinusoids(length: int, dim: int) -> Floats:
    """Return the vectors of positions, [length, dim]: sines in the first half, cosines in the second, with wave
    lengths from 2 pi to 20,000 pi.
    """
    waves = np.exp(-math.log(10_000.0) / max(dim // 2 - 1, 1) * np.arange(dim // 2))
    angles = np.arange(length)[:, None] * waves
    found = np.concatenate([np.sin(angles), np.cos(angles), np.zeros((length, dim % 2))], axis=1)
    return found.astype(np.float32)
