"""Batches for training, from any step on, and for prediction; they are made ahead in a thread.

A batch is the extractor's sequences laid out per replica, in equal shapes for all replicas.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rankcli.errors import StorageError
from rankcli.extractors.base import Extractor, ids_of
from rankcli.records.interleave import Records, Stride, read_examples
from rankcli.records.keys import keys_of
from rankcli.records.layout import bucket_rows, flat, packed
from rankcli.records.prefetch import prefetch
from rankcli.shapes import Batch, DenseSpec, Example, Field, Floats, Layout, SequenceSpec, TokenSequence


class Shape(NamedTuple):
    """Groups per batch and documents per group. `static`: sequences are packed, in few different shapes; else flat.

    `share` lets groups of one query share its sequence in fields at query level. `keyed` batches have `keys`.
    """

    groups: int
    docs: int
    static: bool
    share: bool = False
    keyed: bool = False


Look = Callable[[Sequence[TokenSequence]], Floats]  # the base vectors of sequences, [N, W]
Known = Mapping[str, Look]  # by field
NOTHING_KNOWN: Known = MappingProxyType({})


class _Flat(NamedTuple):
    sequences: list[TokenSequence]
    owners: npt.NDArray[np.int32]


def collate(
    parts: Sequence[Sequence[Example]], extractor: Extractor, shape: Shape, known: Known = NOTHING_KNOWN
) -> list[Batch]:
    """One batch of `shape` per part; a part with fewer examples is filled up with groups that only pad.

    Fields that are `known` have the base vectors of their sequences in place of a layout.
    """
    extracted = [[extractor.extract(example) for example in part] for part in parts]
    fields: list[dict[str, Any]] = [{} for _ in parts]
    for name, spec in extractor.fields.items():
        lists: list[list[Any]] = [[made[name] for made in part] for part in extracted]
        if isinstance(spec, DenseSpec):
            made: list[Any] = [_padded_groups(groups, shape, (spec.width,)) for groups in lists]
        else:
            flats = [_flatten(part, groups, spec, shape) for part, groups in zip(parts, lists, strict=True)]
            made = _fields_of(flats, spec, shape, extractor, known.get(name))
        for of_part, field in zip(fields, made, strict=True):
            of_part[name] = field
    first = next((example for part in parts for example in part), None)
    widths = {name: values.shape[1:] for name, values in first.columns.items()} if first else {}
    return [_batch(part, of_part, shape, widths) for part, of_part in zip(parts, fields, strict=True)]


def check_ids(layout: Layout, spec: SequenceSpec, extractor: Extractor) -> None:
    """StorageError for a token id beyond the vocabulary: no embedding is there for it."""
    most, known = int(layout.ids.max(initial=0)), ids_of(spec, extractor)
    if most >= known:
        raise StorageError(
            f"the cached records hold token {most} of {known} in the vocabulary: they are not of this extractor",
            fix="convert them anew: trainer.usecache=false",
        )


def _flatten(part: Sequence[Example], groups: list[list[TokenSequence]], spec: SequenceSpec, shape: Shape) -> _Flat:
    if spec.level == "doc":
        sequences = [sequence for group in groups for sequence in group]
        owners = [b * shape.docs + sequence.doc for b, group in enumerate(groups) for sequence in group]
        return _Flat(sequences, np.array(owners, np.int32))
    owners_of_groups = np.zeros(shape.groups, np.int32)
    first: dict[Any, int] = {}
    kept: list[TokenSequence] = []
    for b, (example, (sequence,)) in enumerate(zip(part, groups, strict=True)):
        owners_of_groups[b] = first.setdefault(example.qid if shape.share else b, len(kept))
        if owners_of_groups[b] == len(kept):
            kept.append(sequence)
    return _Flat(kept, owners_of_groups)


def lay_out(parts: Sequence[Sequence[TokenSequence]], rows: int, spec: SequenceSpec, static: bool) -> list[Layout]:
    """Lay out each part's sequences, all parts in equal shapes, with room for `rows` sequences."""
    return packed(parts, rows, spec.max_length, spec.pad_id) if static else flat(parts, rows, spec.pad_id)


def laid_out(
    parts: Sequence[Sequence[TokenSequence]],
    rows: int,
    spec: SequenceSpec,
    static: bool,
    extractor: Extractor,
    look: Look | None = None,
) -> list[Layout | Floats]:
    """`lay_out`, with ids checked; with `look` the base vectors of the sequences instead, zeros for padding."""
    if look is not None:
        made = [look(part) for part in parts]
        return [np.pad(vectors, ((0, rows - len(vectors)), (0, 0))) for vectors in made]
    layouts = lay_out(parts, rows, spec, static)
    for layout in layouts:
        check_ids(layout, spec, extractor)
    return [*layouts]


def _fields_of(
    flats: list[_Flat], spec: SequenceSpec, shape: Shape, extractor: Extractor, look: Look | None
) -> list[Field]:
    parts = [part.sequences for part in flats]
    rows = max(map(len, parts))
    if shape.static:
        rows = bucket_rows(rows, shape.groups * shape.docs) if spec.level == "doc" else shape.groups
    layouts = laid_out(parts, rows, spec, shape.static, extractor, look)
    owners = [_padded(part.owners, rows) if spec.level == "doc" else part.owners for part in flats]
    return [Field(layout, owner) for layout, owner in zip(layouts, owners, strict=True)]


def _padded(owners: npt.NDArray[np.int32], rows: int) -> npt.NDArray[np.int32]:
    """Pad with -1: padding sequences have no owner."""
    return np.pad(owners, (0, rows - len(owners)), constant_values=-1)


def _batch(
    part: Sequence[Example], fields: dict[str, Any], shape: Shape, widths: Mapping[str, tuple[int, ...]]
) -> Batch:
    """A batch with a column for each of `widths`; a part without examples has them too, filled with zeros."""
    labels = _padded_groups([example.labels for example in part], shape)
    doc_mask = np.zeros((shape.groups, shape.docs), np.bool_)
    for b, example in enumerate(part):
        doc_mask[b, : len(example.docids)] = True
    columns = {
        name: _padded_groups([example.columns[name] for example in part], shape, width)
        for name, width in widths.items()
    }
    return Batch(labels, doc_mask, columns, fields, keys_of(part, shape.groups, shape.docs) if shape.keyed else ())


def _padded_groups(groups: Sequence[Floats], shape: Shape, more: tuple[int, ...] = ()) -> Floats:
    """Numbers of each group's documents, float32 [B, K, ...], 0 on places that only pad."""
    padded = np.zeros((shape.groups, shape.docs, *more), np.float32)
    for b, values in enumerate(groups):
        padded[b, : len(values)] = values
    return padded


SORT_PAIRS = 20_000  # sorting more of them at once by length saves hardly any more padding

Rows = list[list[tuple[str, tuple[str, ...]]]]


def training_batches(
    records: Records,
    extractor: Extractor,
    *,
    batch: int,
    replicas: int = 1,
    start_step: int = 0,
    steps: int,
    static: bool = False,
    here: range | None = None,
    at_once: Iterable[int] = itertools.repeat(1),
    keyed: bool = False,
    known: Known = NOTHING_KNOWN,
) -> Iterator[list[Batch]]:
    """The batches of the steps from `start_step` to `steps` - 1: `batch` / `replicas` groups for each replica.

    `at_once` gives the number of steps whose batches come together, in one list, step after step. Step s uses the
    samples s * `batch` up to (s + 1) * `batch` for any number of replicas, which take them in turn. Only samples of the
    replicas `here` (default: all) are decoded and laid out. Batches that come together have equal shapes; with `static`
    their number of sequences is also one of few, for devices that compile for fixed shapes. With `keyed` they have
    `keys`; `known` gives base vectors. ValueError if `batch` is no multiple of `replicas`, or if the cache has too few
    samples.
    """
    if batch % replicas:
        raise ValueError(f"a batch of {batch} groups cannot be divided evenly over {replicas} replicas")
    if steps * batch > records.manifest.samples:
        raise ValueError(f"{steps} steps of {batch} samples asked of a cache of {records.manifest.samples}")
    here = here or range(replicas)
    part = Stride(here.start, here.stop, replicas)
    examples = read_examples(records, start_step * batch, steps * batch, part)
    shape = Shape(batch // replicas, 0, static, keyed=keyed)
    return prefetch(_training(examples, extractor, shape, len(here), at_once, known))


def _training(
    examples: Iterator[Example],
    extractor: Extractor,
    shape: Shape,
    replicas: int,
    at_once: Iterable[int],
    known: Known,
) -> Iterator[list[Batch]]:
    chunks = _chunks(examples, shape.groups * replicas)
    for count in at_once:
        steps = list(itertools.islice(chunks, count))
        if not steps:
            return
        docs = max(len(example.docids) for chunk in steps for example in chunk)
        parts = [part for chunk in steps for part in _split(chunk, replicas)]
        yield collate(parts, extractor, shape._replace(docs=docs), known)


def prediction_batches(
    examples: Iterator[Example],
    extractor: Extractor,
    *,
    evalbatch: int,
    replicas: int = 1,
    static: bool = False,
    whole_groups: bool = False,
) -> Generator[tuple[list[Batch], Rows], None, None]:
    """Batches, one per replica, that have every query-document pair of `examples` once, and the `rows` of each.

    Groups have one document or, with `whole_groups`, all of the query's. `rows[r][b]` is the (qid, docids) of group b
    of replica r; groups after these only pad. Pairs are sorted by length within a large window, longest first, so that
    a batch has sequences of similar lengths; whole groups are sorted by their number of documents before that.
    `evalbatch` counts the pairs of all replicas and is rounded up to a multiple of their number; a batch has at least
    one whole group per replica. With `static` the last batch is as large as the others.
    """
    per_replica = -(-evalbatch // replicas)
    make = _whole_groups if whole_groups else _prediction
    return prefetch(make(examples, extractor, per_replica, replicas, static))


def _prediction(
    examples: Iterator[Example], extractor: Extractor, groups: int, replicas: int, static: bool
) -> Iterator[tuple[list[Batch], Rows]]:
    size = groups * replicas
    pairs = (example.single(k) for example in examples for k in range(len(example.docids)))
    for window in _chunks(pairs, max(SORT_PAIRS // size, 1) * size):
        window.sort(key=lambda pair: pair.tokens, reverse=True)
        for chunk in _chunks(iter(window), size):
            wanted = groups if static else -(-len(chunk) // replicas)
            parts = _split(chunk, replicas)
            batches = collate(parts, extractor, Shape(wanted, 1, static, share=True))
            yield batches, _rows(parts)


def _whole_groups(
    examples: Iterator[Example], extractor: Extractor, pairs: int, replicas: int, static: bool
) -> Iterator[tuple[list[Batch], Rows]]:
    for window in _windows(examples):
        window.sort(key=lambda group: (len(group.docids), group.tokens), reverse=True)
        while window:
            docs = len(window[0].docids)
            groups = max(pairs // docs, 1)
            chunk, window = window[: groups * replicas], window[groups * replicas :]
            wanted = groups if static else -(-len(chunk) // replicas)
            parts = _split(chunk, replicas)
            yield collate(parts, extractor, Shape(wanted, docs, static, share=True)), _rows(parts)


def _windows(examples: Iterator[Example]) -> Iterator[list[Example]]:
    """Lists of groups with about `SORT_PAIRS` documents together; groups without documents are left out."""
    window, pairs = list[Example](), 0
    for example in examples:
        if example.docids:
            window.append(example)
            pairs += len(example.docids)
        if pairs >= SORT_PAIRS:
            yield window
            window, pairs = [], 0
    if window:
        yield window


def _rows(parts: Sequence[Sequence[Example]]) -> Rows:
    return [[(example.qid, example.docids) for example in part] for part in parts]


def _split(chunk: Sequence[Example], replicas: int) -> list[Sequence[Example]]:
    """Deal groups to replicas in turn, so that several hosts need different stripes of the cache."""
    return [chunk[r::replicas] for r in range(replicas)]


def _chunks(examples: Iterator[Example], size: int) -> Iterator[list[Example]]:
    while chunk := list(itertools.islice(examples, size)):
        yield chunk
