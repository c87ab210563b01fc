"""Histograms of the similarities of each query word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS, option
from rankcli.config.types import PositiveInt
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.layouts import size
from rankcli.rerankers._gates import Gate, gate_weights
from rankcli.rerankers._words import Pairs, WordOptions, WordReranker, layer_weights
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.ops import Tensor


@RERANKERS.register("DRMM")
@dataclass(frozen=True, kw_only=True)
class DRMM(WordOptions):
    """Deep relevance matching model (Guo et al., CIKM 2016, section 3).

    The cosines of a query word with the words of the document are counted in `nbins` equal bins on [-1, 1) and one bin
    of exact matches. A net of `nodes` hidden values, tanh after both layers, turns the counts (CH), their shares (NH)
    or log(1 + count) (LCH) into z_i; the score is sum_i g_i z_i, with a gate g = softmax_i(w idf_i) or softmax_i(w .
    q_i). The paper's best is LCH with IDF. Word vectors are not trained: counts have no gradient.

    Where implementations differ: an exact match is the same word, and not a cosine near 1, so that rounding moves no
    count between the last two bins. LCH is log(1 + count), as in MatchZoo, since log 0 is not defined. Capreolus' last
    layer, a factor and an offset of the score, is not in the paper and left out.
    """

    version: ClassVar[int] = 1
    tiny: ClassVar[Mapping[str, Any]] = {"dim": 6, "nbins": 7}
    nbins: PositiveInt = option(29, "bins besides that of exact matches")
    nodes: PositiveInt = option(5, "hidden values of the net over a histogram")
    histType: Literal["LCH", "NH", "CH"] = option("LCH", "histograms: logarithms of counts, shares, or counts")
    gateType: Literal["IDF", "TV"] = option("IDF", "gate by inverse document frequencies (IDF) or by word vectors (TV)")

    def build(self, ctx: RerankerContext) -> DRMMModel:
        """Make the embeddings, the net and the gate."""
        return DRMMModel(self, ctx)


class DRMMModel(WordReranker):
    """Word embeddings that are not trained, a net over histograms, and a gate."""

    def __init__(self, options: DRMM, ctx: RerankerContext) -> None:
        layers = [
            *layer_weights("hidden", options.nbins + 1, options.nodes),
            *layer_weights("output", options.nodes, 1),
        ]
        super().__init__(ctx, options.dim, False, [*layers, *gate_weights(options.gateType, options.dim)])
        self._bins, self._kind = options.nbins, options.histType
        self._gate = Gate(options.gateType, self.words, self.head)

    def scored(self, pairs: Pairs, dropout: Dropout | None) -> Tensor:
        """Compute the scores."""
        hidden = tf.tanh(self.layer("hidden", self.histograms(pairs)))
        values = tf.tanh(self.layer("output", hidden))[..., 0]
        return tf.reduce_sum(self._gate(pairs) * values, axis=-1)

    def histograms(self, pairs: Pairs) -> Tensor:
        """Return the histogram of each query word, [N, Lq, bins + 1]."""
        counts = self._counts(pairs)
        if self._kind == "LCH":
            return tf.math.log1p(counts)
        return counts if self._kind == "CH" else counts / tf.maximum(tf.reduce_sum(counts, -1, keepdims=True), 1.0)

    def _counts(self, pairs: Pairs) -> Tensor:
        cosines = pairs.cosines(pairs.query.vectors, pairs.doc.vectors)
        bins = tf.cast(tf.floor((cosines + 1) / 2 * self._bins), tf.int32)
        bins = tf.where(pairs.same, self._bins, tf.clip_by_value(bins, 0, self._bins - 1))
        rows, words, each = size(bins, 0), size(bins, 1), self._bins + 1
        first = tf.reshape(tf.range(rows * words) * each, [rows, words, 1])
        at = tf.where(pairs.doc.mask[:, None], first + bins, -1)
        ones = tf.ones_like(at, tf.float32)
        counts = tf.math.unsorted_segment_sum(tf.reshape(ones, [-1]), tf.reshape(at, [-1]), rows * words * each)
        return tf.reshape(counts, [rows, words, each])
