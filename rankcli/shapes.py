"""The one data shape, from ids to device batches. Plain NumPy: no TensorFlow, no text.

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


@dataclass(frozen=True, slots=True)
class Sample:
    """The ids of one group: one query with K documents and their labels."""

    qid: str
    docids: tuple[str, ...]
    labels: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """An extracted group: what one TFRecord holds. Tokens are unpadded and without special tokens.

    `query` is the query's token ids, `docs` one array of token ids per document; `labels`, `weights` and, where there
    are any, `teacher_scores` are float32 [K].
    """

    qid: str
    docids: tuple[str, ...]
    query: Ints
    docs: tuple[Ints, ...]
    labels: Floats
    weights: Floats
    teacher_scores: Floats | None = None


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One sequence as an encoder reads it: token ids and segment ids, both [T], special tokens included.

    `doc` is the document of the group (0..K-1) that it belongs to; 0 in fields at query level.
    """

    ids: Ints
    segments: Ints
    doc: int = 0


class Chunks(NamedTuple):
    """Flat tokens in rows of one sequence each, for attention: chunks of sequences of like length.

    Chunk c has `shapes[c]` = (rows, length) places, int32 [2]. `token_at` [P + 1]: for each place of all chunks in
    turn, the index of its token, or of the last token (padding) if the place is empty; its last entry is a dummy.
    `place_of` [T]: the place of each token; the dummy for padding.
    """

    token_at: Any
    place_of: Any
    shapes: Any


class Layout(NamedTuple):
    """N sequences laid out in memory, int32; only the reader and the encoder know how.

    `ids`, `positions`, `segments` and `sequence` (of which sequence it is a token; -1 on padding) have an entry per
    token: *flat* [T], for devices that take any shape, with `chunks` for attention; or *packed* [R, L], for those that
    compile for fixed shapes, each row with one sequence or several. `places` [N, M] tells which tokens, counted through
    all rows, make up a sequence; -1 behind its end.
    """

    ids: Any
    positions: Any
    segments: Any
    sequence: Any
    places: Any
    chunks: Any = ()


class Field(NamedTuple):
    """The sequences of one field of a batch and who owns them.

    At document level `owner` is [N]: the slot (b * K + k) of sequence n, -1 for a padding sequence. At query level it
    is [B]: the index of group b's query among the sequences, so that groups may share one.
    """

    layout: Layout
    owner: Any


class Batch(NamedTuple):
    """The input of rerankers and losses: labels and doc_mask [B, K], named columns and the extractor's named fields.

    `doc_mask` is False on document places that only pad; a group that only pads has no True at all. `columns` are
    float32 [B, K] (`weight`, `teacher`, `first_stage`, ...), 0 on padding; a column that no sampler gives is not there.
    """

    labels: Any
    doc_mask: Any
    columns: dict[str, Any]
    fields: dict[str, Field]


class Outputs(NamedTuple):
    """The output of a reranker for a batch: `scores`, float32 [B, K], raw logits; and its vectors, if it makes any.

    `vectors[name]` is float32 [N, D], a vector per sequence of a field; `owners[name]` says whose they are, as `owner`
    of that field does. Places outside `doc_mask` and vectors without an owner hold any finite numbers.
    """

    scores: Any
    vectors: Mapping[str, Any] = {}
    owners: Mapping[str, Any] = {}


def _same(value: Any) -> Any:
    return value


class StepContext(NamedTuple):
    """The training step that a loss or hook computes in; the default stands for a step of one device.

    `gather(tensor)` joins the rows of all replicas along the first axis, in the order of the replicas, and passes
    gradients back to each replica's own rows. Indices among rows, such as `owners`, still count within their replica.
    `number` is the global step and `replica` the number of the replica, int32 scalars.
    """

    gather: Callable[[Any], Any] = _same
    number: Any = 0
    replica: Any = 0


@dataclass(frozen=True, slots=True)
class Encoded:
    """Texts as token ids, cut to the most that the extractor ever keeps; `lengths` are the token counts before the
    cut.
    """

    tokens: list[Ints]
    lengths: list[int]


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """What a field holds: its level, and the longest sequence in tokens."""

    level: Level
    max_length: int


@dataclass(frozen=True)
class Judged:
    """Queries of one split with what is known of them: judgments `qrels[qid][docid]` and candidates `run[qid]` (docids,
    best first).
    """

    qids: tuple[str, ...]
    qrels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    run: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
