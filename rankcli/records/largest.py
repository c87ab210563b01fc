"""The largest batch that an extractor can give: every sequence has the greatest length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rankcli.extractors.base import Extractor
from rankcli.records.keys import keys_of
from rankcli.records.layout import bucket_rows
from rankcli.records.reader import Shape, lay_out
from rankcli.shapes import Batch, DenseSpec, Field, FieldSpec, Layout, SequenceSpec, TokenSequence


def largest_batch(extractor: Extractor, widths: Mapping[str, tuple[int, ...]], shape: Shape) -> Batch:
    """Return a full batch of `shape`, with a column for each of `widths`: the shape of a document's numbers in it."""
    labels = np.zeros((shape.groups, shape.docs), np.float32)
    labels[:, 0] = 1.0
    columns = {name: np.ones((*labels.shape, *width), np.float32) for name, width in widths.items()}
    fields = {name: _largest(spec, shape) for name, spec in extractor.fields.items()}
    keys = keys_of((), shape.groups, shape.docs) if shape.keyed else ()
    return Batch(labels, np.ones(labels.shape, np.bool_), columns, fields, keys)


def largest_layout(spec: SequenceSpec, count: int) -> Layout:
    """Return the packed layout of `count` sequences of the greatest length."""
    return _laid_out(spec, count, count)


def _largest(spec: FieldSpec, shape: Shape) -> Any:
    if isinstance(spec, DenseSpec):
        return np.ones((shape.groups, shape.docs, spec.width), np.float32)
    slots = shape.groups * shape.docs
    if spec.level == "query":
        return Field(_laid_out(spec, shape.groups, shape.groups), np.arange(shape.groups, dtype=np.int32))
    count, rows = slots * spec.most, bucket_rows(slots * spec.most, slots)
    owners = np.arange(count, dtype=np.int32) // spec.most
    return Field(_laid_out(spec, count, rows), np.pad(owners, (0, rows - count), constant_values=-1))


def _laid_out(spec: SequenceSpec, count: int, rows: int) -> Layout:
    zeros = np.zeros(spec.max_length, np.int32)
    sequence = TokenSequence(zeros + spec.pad_id, zeros, zeros)
    (layout,) = lay_out([[sequence] * count], rows, spec, static=True)
    return layout
