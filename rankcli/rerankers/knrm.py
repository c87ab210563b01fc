"""Kernel pooling over the similarities of query words and document words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS, option
from rankcli.config.types import PositiveFloat
from rankcli.encoders.dropout import Dropout
from rankcli.rerankers._kernels import FLOOR, MUS, kernel_weights, pooled, trained_counts
from rankcli.rerankers._words import Pairs, WordOptions, WordReranker, layer_weights
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.ops import Tensor


@RERANKERS.register("TFKNRM", aliases=("KNRM",))
@dataclass(frozen=True, kw_only=True)
class KNRM(WordOptions):
    """Kernel-based neural ranking over word embeddings (Xiong et al., SIGIR 2017, equations 3 to 7).

    S_ij is the cosine of query word i and document word j, and 1 for the same word. Kernel k is a soft count of the
    matches of word i: K_ik = sum_j exp(-(S_ij - mu_k)^2 / (2 sigma_k^2)). With phi_k = 0.01 sum_i log max(K_ik, floor),
    the score is w . phi + b. The means of the kernels are -0.9, -0.7, ..., 0.9 (sigma 0.1) and 1 (sigma 0.001).
    Embeddings start from the extractor's vectors, else from random values.

    The factor 0.01 is not in the paper, but in the authors' code and in all known others. The authors take the tanh of
    the score, which a hinge loss needs and which stops others from learning: it is left out. Their kernels are fixed
    (`gradkernels: false`).
    """

    version: ClassVar[int] = 2
    tiny: ClassVar[Mapping[str, Any]] = {"dim": 6}
    finetune: bool = option(True, "train the embeddings")
    gradkernels: bool = option(True, "train mu and sigma of the kernels")
    floor: PositiveFloat = option(FLOOR, "least soft count; a larger one makes a missing word weigh less")
    idf: bool = option(False, "weigh the logarithms of a query word by its inverse document frequency")

    def build(self, ctx: RerankerContext) -> KNRMModel:
        """Make the embeddings and an output layer."""
        return KNRMModel(self, ctx)


class KNRMModel(WordReranker):
    """Word embeddings, kernels, and one linear layer."""

    def __init__(self, options: KNRM, ctx: RerankerContext) -> None:
        head = [*kernel_weights(options.gradkernels), *layer_weights("output", len(MUS), 1, 0.01)]
        super().__init__(ctx, options.dim, options.finetune, head)
        self._floor = options.floor
        self._idf = self.words.idf("reranker.idf") if options.idf else None

    def scored(self, pairs: Pairs, dropout: Dropout | None) -> Tensor:
        """Compute the scores."""
        weight = pairs.query_mask
        if self._idf is not None:
            weight *= pairs.of_query(tf.gather(self._idf, pairs.query.ids))
        counts = trained_counts(self.head, pairs.similarity(), pairs.doc_mask[:, None])
        return self.layer("output", pooled(counts, weight, self._floor))[:, 0]
