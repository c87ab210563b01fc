"""Sequences laid out in memory, in one of few shapes: a compiled step is made again for each new one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rankcli.shapes import Field, Ints, Layout, TokenSequence

LENGTHS = (*range(8, 65, 8), *range(80, 257, 16))  # and every multiple of 32 above
_STEP = 32


def bucket_length(longest: int, max_length: int) -> int:
    """The smallest length of the fixed list that holds `longest` tokens, and not more than `max_length`."""
    fits = next((length for length in LENGTHS if length >= longest), -(-longest // _STEP) * _STEP)
    return min(fits, max_length)


def bucket_rows(rows: int, slots: int) -> int:
    """The smallest of 1, 2, 3, 4, 6, 8, 12, 16, ... times `slots` that holds `rows` sequences."""
    factor, following = 1, 2
    while factor * slots < rows:
        factor, following = following, 3 if factor == 1 else 2 * factor
    return factor * slots


def padded(
    sequences: Sequence[TokenSequence],
    owners: Ints,
    rows: int | None,
    length: int,
    pad_id: int,
    *,
    pad_owner: int | None = None,
) -> Field:
    """One sequence per row of an int32 [rows, length] layout; for None as many rows as sequences.

    Padding tokens have position 0, segment 0 and sequence -1. At document level give `pad_owner=-1`: the owners are
    then as many as the rows, and rows without a sequence have that one.
    """
    rows = len(sequences) if rows is None else rows
    counts = np.zeros(rows, np.int64)
    counts[: len(sequences)] = [len(sequence.ids) for sequence in sequences]
    if counts.size and counts.max() > length:
        raise ValueError(f"a sequence of {counts.max()} tokens does not fit into a layout of {length}")
    taken = np.arange(length) < counts[:, None]
    row, column = np.nonzero(taken)
    layout = Layout(*(np.full((rows, length), fill, np.int32) for fill in (pad_id, 0, 0, -1)))
    layout.positions[taken], layout.sequence[taken] = column, row
    if sequences:
        layout.ids[taken] = np.concatenate([sequence.ids for sequence in sequences])
        layout.segments[taken] = np.concatenate([sequence.segments for sequence in sequences])
    if pad_owner is None:
        return Field(layout, np.asarray(owners, np.int32))
    return Field(layout, np.concatenate([owners, np.full(rows - len(sequences), pad_owner)]).astype(np.int32))
