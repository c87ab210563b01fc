"""Kernel pooling over the similarities of n-grams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS, option
from rankcli.config.types import PositiveInt
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.weights import Weight
from rankcli.rerankers._kernels import MUS, kernel_weights, pooled, trained_counts
from rankcli.rerankers._words import Pairs, Texts, WordOptions, WordReranker, layer_weights
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.ops import Tensor


@RERANKERS.register("ConvKNRM")
@dataclass(frozen=True, kw_only=True)
class ConvKNRM(WordOptions):
    """Kernel pooling over n-grams of query and document (Dai et al., WSDM 2018, equations 2 to 9).

    The n-gram h of word i is ReLU(W_h . [t_i, ..., t_{i+h-1}] + b_h), for h up to `maxngram`. With `crossmatch` every
    length of the query is compared with every length of the document, else with the same. Each comparison is pooled by
    the kernels of KNRM; the score is w . phi + b over the phi of all.

    Where implementations differ: zeros stand to the right of the text (matchmaker), so that each word begins an n-gram;
    thunlp's n-grams end within the text, MatchZoo's are centred. ReLU as in the paper, which Capreolus leaves out. The
    tanh of the score is left out, see KNRM. An n-gram of unknown words alone is no vector; the same unknown word
    matches in the comparison of single words.
    """

    version: ClassVar[int] = 1
    tiny: ClassVar[Mapping[str, Any]] = {"dim": 6, "filters": 5, "maxngram": 2}
    finetune: bool = option(True, "train the embeddings")
    gradkernels: bool = option(True, "train mu and sigma of the kernels")
    maxngram: PositiveInt = option(3, "words of the longest n-gram")
    filters: PositiveInt = option(128, "size of the vector of an n-gram")
    crossmatch: bool = option(True, "compare n-grams of different lengths, too")

    def build(self, ctx: RerankerContext) -> ConvKNRMModel:
        """Make the embeddings, convolutions and an output layer."""
        return ConvKNRMModel(self, ctx)


class ConvKNRMModel(WordReranker):
    """Word embeddings, a convolution per length of n-grams, kernels, and one linear layer."""

    def __init__(self, options: ConvKNRM, ctx: RerankerContext) -> None:
        self._lengths, self._cross = range(1, options.maxngram + 1), options.crossmatch
        features = len(MUS) * len(list(self._compared()))
        convolutions = [weight for h in self._lengths for weight in _convolution(h, options)]
        head = [*convolutions, *kernel_weights(options.gradkernels), *layer_weights("output", features, 1, 0.01)]
        super().__init__(ctx, options.dim, options.finetune, head)

    def scored(self, pairs: Pairs, dropout: Dropout | None) -> Tensor:
        """Compute the scores."""
        query, doc = ({h: self._grams(texts, h) for h in self._lengths} for texts in (pairs.query, pairs.doc))
        first, *others = [pairs.cosines(query[h], doc[other]) for h, other in self._compared()]
        cosines = tf.stack([tf.where(pairs.same_unknown, 1.0, first), *others], axis=1)
        phi = pooled(trained_counts(self.head, cosines, pairs.doc_mask[:, None, None]), pairs.query_mask[:, None])
        return self.layer("output", tf.reshape(phi, [-1, phi.shape[1] * phi.shape[2]]))[:, 0]

    def _compared(self) -> Iterator[tuple[int, int]]:
        """Lengths of n-grams of the query and of the document that are compared, single words first."""
        return ((h, other) for h in self._lengths for other in self._lengths if self._cross or h == other)

    def _grams(self, texts: Texts, h: int) -> Tensor:
        """Return the n-grams of length `h` that begin at each word, [N, L, F]."""
        kernel, bias = (self.head.exact(f"ngram_{h}/{part}") for part in ("kernel", "bias"))
        known = tf.cast(texts.known, tf.float32)[..., None]
        behind = [[0, 0], [0, h - 1], [0, 0]]
        grams = tf.nn.relu(tf.nn.conv1d(tf.pad(texts.vectors, behind), kernel, 1, "VALID") + bias)
        return grams * tf.nn.max_pool1d(tf.pad(known, behind), h, 1, "VALID")


def _convolution(h: int, options: ConvKNRM) -> list[Weight]:
    shape = h, options.dim, options.filters
    names, scale = [(f"ngram_{h}.{part}",) for part in ("weight", "bias")], (h * options.dim) ** -0.5
    kernel = Weight(f"ngram_{h}/kernel", shape, names[0], "normal", transposed=True, scale=scale)
    return [kernel, Weight(f"ngram_{h}/bias", shape[-1:], names[1], "zeros")]
