"""Convolutions over the matrix of similarities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS, option
from rankcli.config.types import PositiveInt
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.weights import Weight
from rankcli.extractors.base import sequence_spec
from rankcli.rerankers._words import Pairs, WordOptions, WordReranker, greatest, layer_weights, shares, unit
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.ops import Tensor

_CASCADE = (0.25, 0.5, 0.75, 1.0)
_WINDOW = 9  # words of the context of a word, itself included


@RERANKERS.register("PACRR")
@dataclass(frozen=True, kw_only=True)
class PACRR(WordOptions):
    """Position-aware matching of n-grams (Hui et al., EMNLP 2017), with the options of Co-PACRR (WSDM 2018).

    S_ij is the cosine of query word i and document word j, and 1 for the same word. For n = 2 to `maxgram`, `nfilters`
    convolutions of n x n over S are followed by ReLU and the maximum over the filters; n = 1 is S itself. A row has the
    `kmax` greatest values of a query word for each n and, with `idf`, the softmax of idf over the query's words. Dense
    layers (`combine`, `combine`, 1, ReLU) read the rows of all `maxqlen` places (the paper has 16), zeros where there
    is no word.

    `context` adds, for each of the greatest values, the cosine of the mean query vector and the mean vector of the four
    words to the left and right of its place. `cascade` takes the greatest values of the first 25, 50, 75 and 100 % of
    the document. `shuffle` puts the rows into another order at every training step, so that dense layers do not learn
    places of query words.

    Where implementations differ: dense layers are those of the authors' later code; the first paper has an LSTM.
    Convolutions see zeros to the right and below (CEDR, matchmaker); the authors' are centred. Percentages of the
    cascade are of the document's own length, not of the longest. n = 1 has no convolution, as in the authors' code.
    """

    version: ClassVar[int] = 1
    tiny: ClassVar[Mapping[str, Any]] = {"dim": 6, "nfilters": 3, "combine": 16}
    finetune: bool = option(False, "train the embeddings")
    maxgram: PositiveInt = option(3, "size of the largest convolution")
    nfilters: PositiveInt = option(32, "filters of each convolution")
    kmax: PositiveInt = option(2, "greatest values of each query word")
    idf: bool = option(True, "give each query word its share of the query's idf")
    combine: PositiveInt = option(32, "values of each hidden layer")
    context: bool = option(False, "add the similarity of the context of each match")
    cascade: bool = option(False, "look at the beginning of the document, too: a quarter, a half, three quarters")
    shuffle: bool = option(True, "shuffle the places of query words in training")

    def build(self, ctx: RerankerContext) -> PACRRModel:
        """Make the embeddings, convolutions and dense layers."""
        return PACRRModel(self, ctx)


class PACRRModel(WordReranker):
    """Word embeddings, convolutions, and dense layers."""

    def __init__(self, options: PACRR, ctx: RerankerContext) -> None:
        self._options, self._rows = options, sequence_spec(ctx.extractor, "query").max_length
        self._parts = _CASCADE if options.cascade else _CASCADE[-1:]
        per_gram = options.kmax * len(self._parts) * (2 if options.context else 1)
        layers = [
            *layer_weights("hidden_1", self._rows * (per_gram * options.maxgram + options.idf), options.combine),
            *layer_weights("hidden_2", options.combine, options.combine),
            *layer_weights("output", options.combine, 1),
        ]
        convolutions = [weight for n in range(2, options.maxgram + 1) for weight in _convolution(n, options.nfilters)]
        super().__init__(ctx, options.dim, options.finetune, [*convolutions, *layers])
        self._idf = self.words.idf("reranker.idf") if options.idf else None

    def scored(self, pairs: Pairs, dropout: Dropout | None) -> Tensor:
        """Compute the scores."""
        rows = self.features(pairs)
        if dropout is not None and self._options.shuffle:
            rows = tf.gather(rows, _shuffled(self._rows, dropout), axis=1)
        hidden = tf.reshape(rows, [-1, rows.shape[1] * rows.shape[2]])
        for path in ("hidden_1", "hidden_2"):
            hidden = tf.nn.relu(self.layer(path, hidden))
        return self.layer("output", hidden)[:, 0]

    def features(self, pairs: Pairs) -> Tensor:
        """Return the rows of all places of the query, [N, maxqlen, features]; zeros where there is no word."""
        mask, doc_mask = pairs.query_mask, pairs.doc_mask
        similarity = pairs.similarity() * mask[:, :, None] * doc_mask[:, None]
        context = self._contexts(pairs) if self._options.context else None
        found = []
        for n in range(1, self._options.maxgram + 1):
            grams = similarity if n == 1 else self._grams(similarity, n)
            found += [part for share in self._parts for part in self._greatest(grams, _first(doc_mask, share), context)]
        if self._idf is not None:
            found.append(shares(pairs.of_query(tf.gather(self._idf, pairs.query.ids)), mask)[..., None])
        rows = tf.concat(found, -1) * mask[..., None]
        rows = tf.pad(rows, [[0, 0], [0, self._rows], [0, 0]])[:, : self._rows]
        return tf.ensure_shape(rows, [None, self._rows, sum(part.shape[-1] for part in found)])

    def _greatest(self, grams: Tensor, mask: Tensor, context: Tensor | None) -> list[Tensor]:
        """Return the greatest values of each row and, with `context` [N, Ld], the contexts of their places."""
        found, places = greatest(grams, mask, self._options.kmax)
        if context is None:
            return [found]
        behind = tf.pad(context * mask, [[0, 0], [0, self._options.kmax]])
        return [found, tf.gather(behind, places, batch_dims=1)]

    def _grams(self, similarity: Tensor, n: int) -> Tensor:
        """Return the greatest value of all filters at each place, [N, Lq, Ld]."""
        kernel, bias = (self.head.exact(f"ngram_{n}/{part}") for part in ("kernel", "bias"))
        padded = tf.pad(similarity, [[0, 0], [0, n - 1], [0, n - 1]])[..., None]
        return tf.nn.relu(tf.reduce_max(tf.nn.conv2d(padded, kernel[:, :, None], 1, "VALID") + bias, axis=-1))

    def _contexts(self, pairs: Pairs) -> Tensor:
        """Return the cosine of the query's mean vector and the mean of the words around each place, [N, Ld]."""
        query = unit(tf.reduce_sum(pairs.query.vectors, axis=1))
        around = unit(tf.nn.avg_pool1d(pairs.doc.vectors, _WINDOW, 1, "SAME"))
        return tf.reduce_sum(pairs.of_query(query)[:, None] * around, axis=-1)


def _first(mask: Tensor, share: float) -> Tensor:
    """Return the mask of the first `share` of each document's words, rounded up."""
    length = tf.math.ceil(share * tf.reduce_sum(mask, axis=-1, keepdims=True))
    return mask * tf.cast(tf.cumsum(mask, axis=-1) <= length, tf.float32)


def _shuffled(rows: int, dropout: Dropout) -> Tensor:
    """Return the numbers below `rows` in an order that depends on the key of the training step."""
    bits = tf.random.stateless_uniform([rows], dropout.seed, None, None, tf.int32, alg="philox")
    return tf.argsort(bits, stable=True)


def _convolution(n: int, filters: int) -> list[Weight]:
    names = [(f"ngram_{n}.{part}",) for part in ("weight", "bias")]
    kernel = Weight(f"ngram_{n}/kernel", (n, n, filters), names[0], "normal", transposed=True, scale=1 / n)
    return [kernel, Weight(f"ngram_{n}/bias", (filters,), names[1], "zeros")]
