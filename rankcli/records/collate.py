"""Turn examples into batches: the extractor's sequences laid out per replica, in equal shapes for all replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rankcli.errors import StorageError
from rankcli.extractors.base import Extractor
from rankcli.records.layout import bucket_rows, flat, packed
from rankcli.shapes import Batch, DenseSpec, Example, Field, FieldSpec, Floats, SequenceSpec, TokenSequence


class Shape(NamedTuple):
    """Groups per batch and documents per group. `static`: sequences are packed, in few different shapes; else flat.

    `share` lets groups of one query share its sequence in fields at query level.
    """

    groups: int
    docs: int
    static: bool
    share: bool = False


class _Flat(NamedTuple):
    sequences: list[TokenSequence]
    owners: npt.NDArray[np.int32]


def collate(parts: Sequence[Sequence[Example]], extractor: Extractor, shape: Shape) -> list[Batch]:
    """One batch of `shape` per part; a part with fewer examples is filled up with groups that only pad."""
    extracted = [[extractor.extract(example) for example in part] for part in parts]
    fields: list[dict[str, Any]] = [{} for _ in parts]
    for name, spec in extractor.fields.items():
        lists = [[made[name] for made in part] for part in extracted]
        for laid_out, field in zip(fields, _field(parts, lists, spec, shape), strict=True):
            laid_out[name] = field
            _check_ids(field, spec, extractor)
    first = next((example for part in parts for example in part), None)
    widths = {name: values.shape[1:] for name, values in first.columns.items()} if first else {}
    return [_batch(part, laid_out, shape, widths) for part, laid_out in zip(parts, fields, strict=True)]


def _check_ids(field: Any, spec: FieldSpec, extractor: Extractor) -> None:
    """StorageError for a token id beyond the vocabulary: no embedding is there for it."""
    if isinstance(spec, DenseSpec):
        return
    most, known = int(field.layout.ids.max(initial=0)), extractor.streams[spec.stream].vocab_size
    if most >= known:
        raise StorageError(
            f"the cached records hold token {most} of {known} in the vocabulary: they are not of this extractor",
            fix="convert them anew: trainer.usecache=false",
        )


def _field(parts: Sequence[Sequence[Example]], lists: list[list[Any]], spec: FieldSpec, shape: Shape) -> list[Any]:
    """One field of all parts: sequences laid out, or numbers."""
    if isinstance(spec, DenseSpec):
        return [_padded_groups(groups, shape, (spec.width,)) for groups in lists]
    flats = [_flatten(part, groups, spec, shape) for part, groups in zip(parts, lists, strict=True)]
    return list(_lay_out(flats, spec, shape))


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


def _lay_out(flats: list[_Flat], spec: SequenceSpec, shape: Shape) -> list[Field]:
    parts = [part.sequences for part in flats]
    rows = max(map(len, parts))
    if shape.static:
        rows = bucket_rows(rows, shape.groups * shape.docs) if spec.level == "doc" else shape.groups
        layouts = packed(parts, rows, spec.max_length, spec.pad_id)
    else:
        layouts = flat(parts, rows, spec.pad_id)
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
    return Batch(labels, doc_mask, columns, fields)


def _padded_groups(groups: Sequence[Floats], shape: Shape, more: tuple[int, ...] = ()) -> Floats:
    """Numbers of each group's documents, float32 [B, K, ...], 0 on places that only pad."""
    padded = np.zeros((shape.groups, shape.docs, *more), np.float32)
    for b, values in enumerate(groups):
        padded[b, : len(values)] = values
    return padded
