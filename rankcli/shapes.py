"""The one data shape, from ids to device batches. Plain NumPy: no TensorFlow.

sample (ids of a group) -> example (tokens of a group) -> sequences (what an encoder reads) -> batch (laid out, fixed
shapes). K is the number of documents of a group, B of groups in a batch; a *slot* is one document place of a batch, b *
K + k.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float32]
Level = Literal["query", "doc"]
SPECIAL, QUERY, DOC = 0, 1, 2  # the parts of a sequence
UNSEEN = 3  # a part whose tokens attend to the others, but no token attends to them
TITLE = 4  # the title of a document, where it is told apart from the text after it
FIRST_STAGE = "first_stage"  # the column of the first stage's scores
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Sample:
    """The ids of one group: one query with K documents, their labels and named columns of K numbers."""

    qid: str
    docids: tuple[str, ...]
    labels: tuple[float, ...]
    columns: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


class Record(NamedTuple):
    """A query or a document: its id and its text, of which the first `title` characters are the title."""

    id: str
    text: str
    title: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """An extracted group, the content of one TFRecord. Tokens are unpadded and without special tokens.

    `queries` and `docs` are the token ids of each stream by its name: of the query, and one array per document.
    `labels` are float32 [K], `columns` float32 [K] or [K, W] by name.
    """

    qid: str
    docids: tuple[str, ...]
    labels: Floats
    queries: Mapping[str, Ints] = field(default_factory=dict)
    docs: Mapping[str, tuple[Ints, ...]] = field(default_factory=dict)
    columns: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """The number of tokens in all its texts."""
        return sum(map(len, self.queries.values())) + sum(len(ids) for docs in self.docs.values() for ids in docs)

    def single(self, k: int) -> Example:
        """The group of document k alone."""
        here = slice(k, k + 1)
        docs = {stream: texts[here] for stream, texts in self.docs.items()}
        columns = {name: values[here] for name, values in self.columns.items()}
        return Example(self.qid, self.docids[here], self.labels[here], self.queries, docs, columns)


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One sequence as an encoder reads it: token ids, segment ids and parts, all [T], special tokens included.

    `parts` gives each token's part: `SPECIAL`, `QUERY`, `DOC`, `UNSEEN` or `TITLE`. `doc` is the document of the group
    (0..K-1) that the sequence belongs to; 0 in fields at query level.
    """

    ids: Ints
    segments: Ints
    parts: Ints
    doc: int = 0


class Chunks(NamedTuple):
    """Flat tokens in rows of one sequence each, for attention: chunks of sequences of similar length.

    Chunk c has `shapes[c]` = (rows, length) places, int32 [2]. `token_at` [P + 1]: for each place of all chunks in
    turn, the index of its token, or of the last token (padding) if the place is empty; its last entry is a dummy.
    `place_of` [T]: the place of each token; the dummy for padding.
    """

    token_at: Any
    place_of: Any
    shapes: Any


class Shared(NamedTuple):
    """Tokens that sequences of a group share: each attends to those of the other sequences, too, in every layer.

    `tokens` [B, K] are the shared tokens of the slots of each group, as indices among all tokens; -1 for none. `slot`
    [N] is the slot (b * K + k) of each sequence, -1 for padding.
    """

    tokens: Any
    slot: Any


class Layout(NamedTuple):
    """N sequences laid out in memory, int32; only the reader and the encoder know how.

    `ids`, `positions`, `segments`, `parts` and `sequence` (the number of a token's sequence; -1 on padding) have an
    entry per token: *flat* [T], for devices that take any shape, with `chunks` for attention; or *packed* [R, L], for
    those that compile for fixed shapes, each row with one sequence or several. `places` [N, M] are the tokens of each
    sequence, counted through all rows; -1 after its end. A reranker may add `shared`, a `Shared`.
    """

    ids: Any
    positions: Any
    segments: Any
    sequence: Any
    places: Any
    parts: Any
    chunks: Any = ()
    shared: Any = ()


class Field(NamedTuple):
    """The sequences of one field of a batch, and their owners.

    At document level `owner` is [N]: the slot (b * K + k) of sequence n, -1 for a padding sequence. At query level it
    is [B]: the index of group b's query among the sequences, so that groups may share one. A field whose base vectors
    are known has these, float32 [N, W], in place of the layout.
    """

    layout: Any
    owner: Any


class Keys(NamedTuple):
    """Numbers that stand for ids, int64: of each group's query [B] and of its documents [B, K]; 0 on padding.

    Equal ids have equal keys on all devices and in all steps. A query's key plus a document's is the key of the pair.
    """

    query: Any
    doc: Any


class Batch(NamedTuple):
    """The input of rerankers and losses: labels and doc_mask [B, K], named columns and the extractor's named fields.

    `doc_mask` is False on document places that only pad; a group that only pads has no True at all. `columns` are
    float32 [B, K] or [B, K, W] (`weight`, `teacher`, `first_stage`, ...), 0 on padding; a column that no component
    gives is missing. `keys` are `Keys`, where a loss or hook compares groups with each other; else empty.
    """

    labels: Any
    doc_mask: Any
    columns: dict[str, Any]
    fields: dict[str, Any]  # a Field, or for a DenseSpec a tensor [B, K, width]
    keys: Any = ()


class Outputs(NamedTuple):
    """The output of a reranker for a batch: `scores`, float32 [B, K], raw logits; and its vectors, if it makes any.

    `vectors[name]` is float32 [N, D], a vector per sequence of a field; `owners[name]` is the `owner` of that field.
    Scores outside `doc_mask` and vectors without an owner are any finite numbers.
    """

    scores: Any
    vectors: Mapping[str, Any] = {}
    owners: Mapping[str, Any] = {}


def _same(value: Any) -> Any:
    return value


class Memory(NamedTuple):
    """Documents of earlier batches: vectors [M, D], their keys and those of the pairs with the queries that they were
    relevant to (0: with none), int64 [M]; `real` is False for rows that are not filled yet.
    """

    vectors: Any
    doc: Any
    pair: Any
    real: Any


class StepContext(NamedTuple):
    """The training step that a loss or hook is computed in; the default is a step of one device.

    `gather(tensor)` joins the rows of all replicas along the first axis, in the order of the replicas, and passes
    gradients back to each replica's own rows. Indices among rows, such as `owners`, still count within their replica.
    `number` is the global step and `replica` the number of the replica, int32 scalars. `judged` are the keys of all
    pairs of a training query and a document that is judged relevant to it, sorted, int64 [P]. `memory`, if there is
    one, has documents to compare with besides those of the batch.
    """

    gather: Callable[[Any], Any] = _same
    number: Any = 0
    replica: Any = 0
    judged: Any = ()
    memory: Memory | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """Texts as token ids, cut off at the longest that the extractor uses; `lengths` count the tokens before that."""

    tokens: list[Ints]
    lengths: list[int]


class StreamSpec(NamedTuple):
    """One tokenisation of all texts of a level, over `vocab_size` token ids. With `titles`, tokens depend on which part
    of a text is its title.
    """

    level: Level
    vocab_size: int
    titles: bool = False


class SequenceSpec(NamedTuple):
    """A field of token sequences of one stream's vocabulary, padded with `pad_id`, none longer than `max_length`.

    At document level a document has at least one sequence and at most `most`. The tokens of the query in it, if it has
    any, are among its first `leading`. Its ids are below `vocab_size`, by default that of the stream. The last
    `unknown` of them number words that the vocabulary does not have: of a query
    and its documents, equal ids are equal words, except that the very last is any word that the query does not have.
    """

    level: Level
    stream: str
    max_length: int
    pad_id: int = 0
    most: int = 1
    vocab_size: int | None = None
    unknown: int = 0
    leading: int = 0


class DenseSpec(NamedTuple):
    """A field of numbers, float32 [B, K, width]: features of each query and document."""

    width: int


FieldSpec = SequenceSpec | DenseSpec


class Ranked(NamedTuple):
    """The candidates of a query, best first, and their scores, float32 [C]."""

    docids: tuple[str, ...]
    scores: Floats


@dataclass(frozen=True)
class Judged:
    """Queries of one split with their judgments `qrels[qid][docid]` and their candidates `run[qid]`."""

    qids: tuple[str, ...]
    qrels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    run: Mapping[str, Ranked] = field(default_factory=dict)
