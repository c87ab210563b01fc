"""Sequences laid out in memory, in few different shapes: each new shape makes kernels or a compiled step anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rankcli.shapes import SPECIAL, Chunks, Layout, TokenSequence

SIZES = 32  # sizes per doubling: about 1.5 % is padding
CHUNKS = 4  # more chunks save little padding in attention, and small products are slow
ROWS = (1, 2)  # lengths of packed rows to try, in greatest sequence lengths; the one with fewer places is used
_EIGHT = 8  # lengths in attention are multiples of it

Indices = npt.NDArray[np.int64]
Sequences = Sequence[TokenSequence]


def bucket(size: int, least: int = _EIGHT) -> int:
    """The smallest size of a fixed list that is at least `size`: `SIZES` per doubling, all multiples of `least`."""
    step = max(least, (1 << max(size - 1, 0).bit_length()) // (2 * SIZES))
    return -(-size // step) * step


def bucket_rows(rows: int, slots: int) -> int:
    """The smallest of 1, 2, 3, 4, 6, 8, 12, 16, ... times `slots` that is at least `rows`."""
    factor, following = 1, 2
    while factor * slots < rows:
        factor, following = following, 3 if factor == 1 else 2 * factor
    return factor * slots


def flat(parts: Sequence[Sequences], rows: int, pad_id: int) -> list[Layout]:
    """Lay out each part's sequences one after the other, all parts in equal shapes, with room for `rows` sequences.

    The last token is padding. Attention has `CHUNKS` chunks, chosen for the least padding.
    """
    counts = [_counts(part, rows) for part in parts]
    size = bucket(max(int(count.sum()) for count in counts) + 1)
    orders = [np.argsort(-count, kind="stable") for count in counts]
    tops = np.max([count[order] for count, order in zip(counts, orders, strict=True)], axis=0)
    shapes = chunk_shapes(tops)
    layouts = []
    for part, count, order in zip(parts, counts, orders, strict=True):
        starts = np.cumsum(count) - count
        layout = _laid_out(part, starts, count, int(shapes[:, 1].max()), (size,), pad_id)
        layouts.append(layout._replace(chunks=_chunks(layout.places, order, shapes, size)))
    return layouts


def packed(parts: Sequence[Sequences], rows: int, max_length: int, pad_id: int) -> list[Layout]:
    """Lay out each part's sequences in rows of one of two lengths, all parts in equal shapes, with room for `rows`
    sequences.

    The longest sequences are placed first, each in the first row that has room. Many sequences of nearly the greatest
    length need long rows; short ones fill short rows as well, and leave less of the last row empty.
    """
    counts = [_counts(part, rows) for part in parts]
    tried = [_packed(counts, times * max_length) for times in ROWS]
    starts, (height, length) = min(tried, key=lambda found: found[1][0] * found[1][1])
    return [
        _laid_out(part, start, count, max_length, (height, length), pad_id)
        for part, start, count in zip(parts, starts, counts, strict=True)
    ]


def _packed(counts: Sequence[Indices], length: int) -> tuple[list[Indices], tuple[int, int]]:
    """The place of the first token of each part's sequences, and the common shape of all parts in rows of `length`."""
    starts = [_first_fit(count, length) for count in counts]
    return starts, (bucket(1 + max(int(start.max(initial=0)) // length for start in starts), 1), length)


def chunk_shapes(tops: Indices) -> npt.NDArray[np.int32]:
    """Rows and length of each of `CHUNKS` chunks of sequences of lengths `tops`, the longest first.

    The chunks have the fewest pairs of places, to which the cost of attention is proportional; by dynamic programming.
    """
    heights = np.maximum(-(-tops // _EIGHT) * _EIGHT, _EIGHT)
    heights = np.pad(heights, (0, max(0, CHUNKS - len(heights))), constant_values=_EIGHT)
    starts, ends = np.ogrid[: len(heights), : len(heights) + 1]
    area = np.where(ends > starts, (ends - starts) * heights[:, None].astype(np.float64) ** 2, np.inf)
    least, cuts = area[0], []
    for _ in range(CHUNKS - 1):
        sums = least[:-1, None] + area
        cuts.append(sums.argmin(axis=0))
        least = sums.min(axis=0)
    bounds = [len(heights)]
    for cut in reversed(cuts):
        bounds.append(int(cut[bounds[-1]]))
    bounds = [0, *reversed(bounds)]
    return np.array([(end - start, heights[start]) for start, end in zip(bounds, bounds[1:], strict=False)], np.int32)


def _counts(part: Sequences, rows: int) -> Indices:
    counts = np.zeros(rows, np.int64)
    counts[: len(part)] = [len(sequence.ids) for sequence in part]
    return counts


def _laid_out(
    part: Sequences, starts: Indices, counts: Indices, width: int, shape: tuple[int, ...], pad_id: int
) -> Layout:
    """Lay out sequence n from place `starts[n]` on; padding has position 0, segment 0 and sequence -1."""
    within = np.arange(width)
    taken = within < counts[:, None]
    if taken.sum() != counts.sum():
        raise ValueError(f"a sequence of {counts.max()} tokens does not fit into a layout of {width}")
    places = np.where(taken, starts[:, None] + within, -1).astype(np.int32)
    ids, positions, segments, owner, parts = (np.full(shape, fill, np.int32) for fill in (pad_id, 0, 0, -1, SPECIAL))
    at = places[taken]
    owner.flat[at], positions.flat[at] = np.nonzero(taken)
    if part:
        ids.flat[at] = np.concatenate([sequence.ids for sequence in part])
        segments.flat[at] = np.concatenate([sequence.segments for sequence in part])
        parts.flat[at] = np.concatenate([sequence.parts for sequence in part])
    return Layout(ids, positions, segments, owner, places, parts)


def _chunks(places: Any, order: Indices, shapes: npt.NDArray[np.int32], size: int) -> Chunks:
    """The chunks of a flat layout of `size` tokens; `order` are the sequences, the longest first."""
    rows = np.concatenate([places, np.full((int(shapes[:, 0].sum()) - len(places), places.shape[1]), -1, np.int32)])
    order = np.concatenate([order, np.arange(len(order), len(rows))])
    cuts = np.cumsum(shapes[:-1, 0])
    pieces = [rows[chosen, :length] for chosen, (_, length) in zip(np.split(order, cuts), shapes, strict=True)]
    there = np.concatenate([*(piece.reshape(-1) for piece in pieces), [-1]]).astype(np.int32)
    filled = np.flatnonzero(there >= 0)
    back = np.full(size, len(there) - 1, np.int32)
    back[there[filled]] = filled
    return Chunks(np.where(there >= 0, there, size - 1).astype(np.int32), back, tuple(shapes))


def _first_fit(counts: Indices, length: int) -> Indices:
    """The place of each sequence's first token, counted through all rows of `length` places."""
    starts = np.zeros(len(counts), np.int64)
    taken = np.zeros(len(counts), np.int64)  # tokens in each row
    for n in np.argsort(-counts, kind="stable"):
        row = int(np.argmax(taken + counts[n] <= length))
        starts[n] = row * length + taken[row]
        taken[row] += counts[n]
    return starts
