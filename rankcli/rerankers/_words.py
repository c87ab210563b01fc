"""The common part of rerankers that compare each word of a query with each word of a document."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from rankcli.backend import tf
from rankcli.config.registry import option
from rankcli.config.types import PositiveInt
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.embeddings import WordEmbeddings, word_weights
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.weights import Weight
from rankcli.errors import ConfigError
from rankcli.extractors.base import sequence_spec, vocab_size
from rankcli.rerankers.base import Reranker, RerankerContext, RerankerOptions
from rankcli.rerankers.ops import Tensor, per_document, query_of
from rankcli.shapes import Batch, Layout, Outputs

_TABLE = "encoder/word_embeddings"


@dataclass(frozen=True, kw_only=True)
class WordOptions(RerankerOptions):
    """The options of all rerankers on words."""

    fields: ClassVar[tuple[str, ...]] = ("query", "doc")
    default_extractor: ClassVar[str] = "embedtext"
    dim: PositiveInt = option(128, "size of the word embeddings; that of extractor.vectors if they are given")


class Texts(NamedTuple):
    """The sequences of a field: `ids`, `mask` and `known` [N, L], and `vectors` [N, L, D].

    `known` is True at words that have a vector. Vectors are zeros elsewhere.
    """

    ids: Tensor
    mask: Tensor
    known: Tensor
    vectors: Tensor
    layout: Layout


class Pairs(NamedTuple):
    """Queries, documents, and `row` [N]: the query of each document."""

    query: Texts
    doc: Texts
    row: Tensor

    @property
    def same(self) -> Tensor:
        """True where a word of the query and a word of its document are the same, bool [N, Lq, Ld]."""
        return self.of_query(self.query.ids)[:, :, None] == self.doc.ids[:, None]

    @property
    def same_unknown(self) -> Tensor:
        """True where both are the same word without a vector, bool [N, Lq, Ld]."""
        return tf.logical_and(self.same, tf.logical_not(self.doc.known)[:, None])

    @property
    def query_mask(self) -> Tensor:
        """1 at the words of each document's query, float32 [N, Lq]."""
        return tf.cast(self.of_query(self.query.mask), tf.float32)

    @property
    def doc_mask(self) -> Tensor:
        """1 at the words of each document, float32 [N, Ld]."""
        return tf.cast(self.doc.mask, tf.float32)

    def of_query(self, values: Tensor) -> Tensor:
        """Return the values of each document's query, [N, ...], from those of queries."""
        return tf.gather(values, self.row)

    def cosines(self, query: Tensor, doc: Tensor) -> Tensor:
        """Return the cosines of vectors of queries [B, Lq, D] and of documents [N, Ld, D], float32 [N, Lq, Ld]; 0 for
        a vector of zeros.
        """
        return tf.matmul(self.of_query(unit(query)), unit(doc), transpose_b=True)

    def similarity(self) -> Tensor:
        """Return the cosines of word vectors; 1 for the same word, also for one without a vector."""
        return tf.where(self.same, 1.0, self.cosines(self.query.vectors, self.doc.vectors))


class Words:
    """Vectors of words, from the extractor or random, and inverse document frequencies.

    `parameters` has the table of vectors.
    """

    def __init__(self, ctx: RerankerContext, dim: int, trained: bool) -> None:
        self._known = vocab_size(ctx.extractor, "doc") - sequence_spec(ctx.extractor, "doc").unknown
        self.parameters = ctx.parameters(word_weights(self._known, dim, dim**-0.5, trained), root="encoder")
        self._embeddings, self._tables = WordEmbeddings(self.parameters), ctx.extractor.tables
        vectors = self._tables.get("vectors")
        if vectors is not None:
            if vectors.shape[1] != dim:
                what = f"the vectors of extractor.vectors have {vectors.shape[1]} numbers, not {dim}"
                raise ConfigError(what, where="reranker.dim", fix=f"reranker.dim={vectors.shape[1]}")
            self.parameters.update({_TABLE: vectors})

    def __call__(self, batch: Batch) -> Pairs:
        """Look up the words of a batch."""
        query, doc = batch.fields["query"], batch.fields["doc"]
        row = query_of(query.owner, doc.owner, batch.doc_mask)
        return Pairs(self._texts(query.layout), self._texts(doc.layout), row)

    def idf(self, where: str) -> Tensor:
        """Return the inverse document frequency of each id; ConfigError if the extractor computes none."""
        if "idf" not in self._tables:
            raise ConfigError("this extractor computes no idf", where=where, fix="use the extractor `embedtext`")
        return tf.constant(self._tables["idf"])

    def vectors(self, ids: Tensor) -> Tensor:
        """Return the vectors of ids, zeros for unknown words."""
        return self._embeddings.vectors(ids)

    def _texts(self, layout: Layout) -> Texts:
        ids = self._embeddings.ids(layout)
        vectors, mask = self._embeddings.tokens(layout)
        known = tf.logical_and(mask, ids < self._known)
        return Texts(ids, mask, known, vectors * tf.cast(mask, tf.float32)[..., None], layout)


class WordReranker(Reranker):
    """A reranker on words: a table of vectors, and a head that scores pairs of a query and a document."""

    def __init__(
        self,
        ctx: RerankerContext,
        dim: int,
        trained: bool,
        head: Sequence[Weight],
        parts: Mapping[str, Parameters] | None = None,
    ) -> None:
        self.words, self.head = Words(ctx, dim, trained), ctx.parameters(head)
        self.parameters = {"encoder": self.words.parameters, **(parts or {}), "head": self.head}

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute the scores."""
        values = self.scored(self.words(batch), dropout)
        return Outputs(per_document(values, batch.fields["doc"].owner, batch.doc_mask))

    @abstractmethod
    def scored(self, pairs: Pairs, dropout: Dropout | None) -> Tensor:
        """Return the score of each document, float32 [N]."""

    def save_config(self, directory: Path) -> None:
        """Write nothing, because no other tool knows this architecture."""

    def layer(self, path: str, x: Tensor) -> Tensor:
        """Apply the dense layer of the head at `path` to the last axis."""
        return tf.tensordot(x, self.head.exact(f"{path}/kernel"), 1) + self.head.exact(f"{path}/bias")


def layer_weights(path: str, inputs: int, outputs: int, scale: float | None = None) -> list[Weight]:
    """Return a dense layer of a head; initial values have a standard deviation of `scale`, by default inputs^-0.5."""
    name, scale = path.replace("/", "."), inputs**-0.5 if scale is None else scale
    kernel = Weight(f"{path}/kernel", (inputs, outputs), (f"{name}.weight",), "normal", transposed=True, scale=scale)
    return [kernel, Weight(f"{path}/bias", (outputs,), (f"{name}.bias",), "zeros")]


def unit(states: Tensor) -> Tensor:
    """Return vectors of length 1; zeros stay zeros."""
    return tf.math.l2_normalize(states, axis=-1)


def greatest(values: Tensor, mask: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the `k` greatest values of each row, [N, Lq, k], in descending order, and their places; 0 for those that
    are missing in a short document.

    `values` are [N, Lq, Ld], and `mask`, float32 [N, Ld], is 1 at the places that count.
    """
    nothing = -1e9
    masked = tf.where(mask[:, None] > 0, values, nothing)
    found, places = tf.math.top_k(tf.pad(masked, [[0, 0], [0, 0], [0, k]], constant_values=nothing), k)
    return tf.where(found > nothing, found, 0.0), places


def shares(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax of logits over the places where `mask` is 1, and 0 elsewhere; [N, L]."""
    return tf.nn.softmax(tf.where(mask > 0, logits, -1e9), axis=-1) * mask
