"""The greatest similarities of each query word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS, option
from rankcli.config.types import PositiveInt
from rankcli.encoders.dropout import Dropout
from rankcli.rerankers._gates import Gate, gate_weights
from rankcli.rerankers._words import Pairs, WordOptions, WordReranker, greatest, layer_weights
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.ops import Tensor


@RERANKERS.register("DRMMTKS")
@dataclass(frozen=True, kw_only=True)
class DRMMTKS(WordOptions):
    """DRMM with the greatest similarities in place of histograms: MatchZoo's variant, which no paper describes.

    A net with `nodes` hidden values, tanh after both layers, turns the `topk` greatest cosines of query word i, in
    descending order, into z_i; the score is sum_i g_i z_i with the gate of DRMM. The same word has similarity 1.
    Vectors can be trained, as the greatest values have gradients.

    In MatchZoo a query of five words has five values instead of `topk`; here there are always `topk`, and 0 for those
    that a short document lacks.
    """

    version: ClassVar[int] = 1
    tiny: ClassVar[Mapping[str, Any]] = {"dim": 6, "topk": 3}
    finetune: bool = option(True, "train the embeddings")
    topk: PositiveInt = option(10, "similarities of each query word")
    nodes: PositiveInt = option(5, "hidden values of the net over similarities")
    gateType: Literal["IDF", "TV"] = option("TV", "gate by inverse document frequencies (IDF) or by word vectors (TV)")

    def build(self, ctx: RerankerContext) -> DRMMTKSModel:
        """Make the embeddings, the net and the gate."""
        return DRMMTKSModel(self, ctx)


class DRMMTKSModel(WordReranker):
    """Word embeddings, a net over the greatest similarities, and a gate."""

    def __init__(self, options: DRMMTKS, ctx: RerankerContext) -> None:
        layers = [*layer_weights("hidden", options.topk, options.nodes), *layer_weights("output", options.nodes, 1)]
        head = [*layers, *gate_weights(options.gateType, options.dim)]
        super().__init__(ctx, options.dim, options.finetune, head)
        self._topk, self._gate = options.topk, Gate(options.gateType, self.words, self.head)

    def scored(self, pairs: Pairs, dropout: Dropout | None) -> Tensor:
        """Compute the scores."""
        found, _ = greatest(pairs.similarity(), pairs.doc_mask, self._topk)
        values = tf.tanh(self.layer("output", tf.tanh(self.layer("hidden", found))))[..., 0]
        return tf.reduce_sum(self._gate(pairs) * values, axis=-1)
