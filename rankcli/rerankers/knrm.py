"""Kernel pooling over the similarities of query words and document words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS, option
from rankcli.config.types import PositiveFloat, PositiveInt
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.embeddings import WordEmbeddings, word_weights
from rankcli.encoders.weights import Weight
from rankcli.errors import ConfigError
from rankcli.extractors.base import vocab_size
from rankcli.rerankers.base import Reranker, RerankerContext, RerankerOptions
from rankcli.rerankers.ops import Tensor, per_document, query_of
from rankcli.shapes import Batch, Outputs

MUS = np.array([-0.9, -0.7, -0.5, -0.3, -0.1, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0], np.float32)
SIGMAS = np.array([0.1] * 10 + [0.001], np.float32)  # the last kernel counts exact matches


@RERANKERS.register("TFKNRM")
@dataclass(frozen=True, kw_only=True)
class KNRM(RerankerOptions):
    """Kernel-based neural ranking over word embeddings (Xiong et al., 2017).

    S_ij is the cosine of query word i and document word j. Kernel k is a soft count of the matches of word i:
    K_ik = sum_j exp(-(S_ij - mu_k)^2 / (2 sigma_k^2)). With phi_k = sum_i log max(K_ik, floor), the score is
    w . phi + b. The means of the kernels are -0.9, -0.7, ..., 0.9 (sigma 0.1) and 1 (sigma 0.001). Embeddings start
    from random values.
    """

    version: ClassVar[int] = 1
    tiny: ClassVar[Mapping[str, Any]] = {"dim": 6}
    fields: ClassVar[tuple[str, ...]] = ("query", "doc")
    default_extractor: ClassVar[str] = "embedtext"
    dim: PositiveInt = option(128, "size of the word embeddings")
    finetune: bool = option(True, "train the embeddings")
    gradkernels: bool = option(True, "train mu and sigma of the kernels")
    floor: PositiveFloat = option(1e-10, "least soft count; a larger one makes a missing word weigh less")
    idf: bool = option(False, "weigh the logarithms of a query word by its inverse document frequency")

    def build(self, ctx: RerankerContext) -> KNRMModel:
        """Make random embeddings and an output layer."""
        return KNRMModel(self, ctx)


class KNRMModel(Reranker):
    """Word embeddings, kernels, and one linear layer."""

    def __init__(self, options: KNRM, ctx: RerankerContext) -> None:
        table = word_weights(vocab_size(ctx.extractor, "doc"), options.dim, options.dim**-0.5, options.finetune)
        self.parameters = {
            "encoder": ctx.parameters(table, root="encoder"),
            "head": ctx.parameters(_weights(options.gradkernels)),
        }
        self._words = WordEmbeddings(self.parameters["encoder"])
        self._floor = options.floor
        self._idf = _idf(ctx) if options.idf else None

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute the scores."""
        query, doc = batch.fields["query"], batch.fields["doc"]
        query_states, query_mask = self._directions(query.layout)
        doc_states, doc_mask = self._directions(doc.layout)
        row = query_of(query.owner, doc.owner, batch.doc_mask)
        cosine = tf.matmul(tf.gather(query_states, row), doc_states, transpose_b=True)
        counts = self._soft_counts(cosine, tf.cast(doc_mask, tf.float32)[:, None, :])
        weight = tf.cast(query_mask, tf.float32)
        if self._idf is not None:
            weight *= tf.gather(self._idf, self._words.ids(query.layout))
        phi = tf.einsum("nik,ni->nk", tf.math.log(tf.maximum(counts, self._floor)), tf.gather(weight, row))
        head = self.parameters["head"]
        values = tf.matmul(phi, head.exact("output/kernel")) + head.exact("output/bias")
        return Outputs(per_document(values[:, 0], doc.owner, batch.doc_mask))

    def save_config(self, directory: Path) -> None:
        """Write nothing, because no other tool knows this architecture."""

    def _directions(self, layout: Any) -> tuple[Tensor, Tensor]:
        """Return embeddings of length 1, float32 [N, L, D], and the mask of the tokens [N, L]."""
        states, mask = self._words.tokens(layout)
        return tf.math.l2_normalize(states, axis=-1), mask

    def _soft_counts(self, cosine: Tensor, doc_mask: Tensor) -> Tensor:
        """Return [N, Lq, kernels] from [N, Lq, Ld], one kernel at a time: all at once would need eleven times the
        memory.
        """
        mus, sigmas = (self.parameters["head"].exact(f"kernels/{part}") for part in ("mu", "sigma"))
        counts = []
        for k in range(len(MUS)):
            kernel = tf.exp(-tf.square(cosine - mus[k]) / (2 * tf.square(sigmas[k])))
            counts.append(tf.reduce_sum(kernel * doc_mask, axis=-1))
        return tf.stack(counts, axis=-1)


def _weights(trained: bool) -> list[Weight]:
    """Return the weights of the kernels, trained or not, and of the output layer."""
    return [
        Weight("kernels/mu", MUS.shape, ("kernels.mu",), tuple(MUS.tolist()), trainable=trained),
        Weight("kernels/sigma", SIGMAS.shape, ("kernels.sigma",), tuple(SIGMAS.tolist()), trainable=trained),
        Weight("output/kernel", (len(MUS), 1), ("output.weight",), "normal", transposed=True, scale=0.01),
        Weight("output/bias", (1,), ("output.bias",), "zeros"),
    ]


def _idf(ctx: RerankerContext) -> Tensor:
    if "idf" not in ctx.extractor.tables:
        raise ConfigError("this extractor computes no idf", where="reranker.idf", fix="use the extractor `embedtext`")
    return tf.constant(ctx.extractor.tables["idf"])
