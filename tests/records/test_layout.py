"""Sequences in memory: the flat and the packed layout, and the few shapes that they come in."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rankcli.records.layout import CHUNKS, bucket, bucket_rows, chunk_shapes, flat, packed
from rankcli.shapes import Layout, TokenSequence

RANDOM = np.random.default_rng(3)
ABSTRACTS = np.clip(RANDOM.gamma(5.0, 16.0, (40, 64)).astype(int), 9, 256)  # tokens of pairs, in batches of 64
MIXED = np.clip(RANDOM.gamma(6.0, 45.0, (40, 64)).astype(int), 60, 256)  # about as many cut as not


def sequence(*ids: int, doc: int = 0) -> TokenSequence:
    return TokenSequence(np.array(ids, np.int64), np.arange(len(ids)) % 2, np.array(ids, np.int64) % 3, doc)


def of_lengths(lengths: np.ndarray) -> list[TokenSequence]:
    """Sequences whose every token is another."""
    firsts = np.cumsum(lengths) - lengths
    return [sequence(*range(first, first + length)) for first, length in zip(firsts, lengths, strict=True)]


def holds(layout: Layout, sequences: list[TokenSequence], pad_id: int) -> bool:
    """True if the tokens of each sequence lie where `places` says, and nothing lies elsewhere."""
    ids, positions, segments, owners = (array.reshape(-1) for array in layout[:4])
    for n, row in enumerate(layout.places):
        own = sequences[n] if n < len(sequences) else sequence()
        at = row[: len(own.ids)]
        same = [ids[at] == own.ids, segments[at] == own.segments, positions[at] == np.arange(len(at)), owners[at] == n]
        same.append(layout.parts.reshape(-1)[at] == own.parts)
        if not all(map(np.all, same)) or (row[len(at) :] != -1).any():
            return False
    padding = owners == -1
    tokens = sum(len(own.ids) for own in sequences)
    return bool((~padding).sum() == tokens and (ids[padding] == pad_id).all() and not positions[padding].any())


def test_the_flat_layout_is_this() -> None:
    (layout,) = flat([[sequence(5, 6, 7), sequence(8)]], 3, 9)
    assert layout.ids.tolist() == [5, 6, 7, 8, 9, 9, 9, 9]
    assert layout.positions.tolist() == [0, 1, 2, 0, 0, 0, 0, 0]
    assert layout.segments.tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    assert layout.sequence.tolist() == [0, 0, 0, 1, -1, -1, -1, -1]
    assert layout.parts.tolist() == [2, 0, 1, 2, 0, 0, 0, 0]
    assert layout.places.tolist() == [[0, 1, 2, *[-1] * 5], [3, *[-1] * 7], [-1] * 8]
    assert [shape.tolist() for shape in layout.chunks.shapes] == [[1, 8]] * 4
    assert layout.chunks.token_at.tolist() == [0, 1, 2, *[7] * 5, 3, *[7] * 24]
    assert layout.chunks.place_of.tolist() == [0, 1, 2, 8, 32, 32, 32, 32]
    assert {array.dtype for array in (*layout[:5], *layout.chunks[:2])} == {np.dtype(np.int32)}


def test_the_packed_layout_is_this() -> None:
    """The longest comes first, the others where there is room: here rows of eight would be more places."""
    parts = [sequence(8), sequence(5, 6, 7), sequence(3, 4), sequence(1, 2), sequence(9, 9)]
    (layout,) = packed([parts], 6, 4, 0)
    assert layout.ids.tolist() == [[5, 6, 7, 8], [3, 4, 1, 2], [9, 9, 0, 0]]
    assert layout.positions.tolist() == [[0, 1, 2, 0], [0, 1, 0, 1], [0, 1, 0, 0]]
    assert layout.sequence.tolist() == [[1, 1, 1, 0], [2, 2, 3, 3], [4, 4, -1, -1]]
    assert layout.places[:3].tolist() == [[3, -1, -1, -1], [0, 1, 2, -1], [4, 5, -1, -1]]
    assert layout.chunks == ()


def test_rows_are_longer_where_that_takes_fewer_places() -> None:
    (layout,) = packed([[sequence(1, 2, 3), sequence(4, 5, 6), sequence(7, 8)]], 3, 4, 0)
    assert layout.ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]]


@pytest.mark.parametrize("lengths", [ABSTRACTS[0], MIXED[0], np.array([1]), np.array([256, 1, 2]), np.zeros(0, int)])
def test_every_token_lies_where_the_layout_says(lengths: np.ndarray) -> None:
    sequences = of_lengths(lengths)
    (one,), (other,) = flat([sequences], len(lengths) + 2, 7), packed([sequences], len(lengths) + 2, 256, 7)
    assert holds(one, sequences, 7) and holds(other, sequences, 7)
    assert one.sequence[-1] == -1  # what stands in attention for places without a token
    there, back, shapes = one.chunks
    assert len(there) == sum(rows * length for rows, length in shapes) + 1
    tokens = np.flatnonzero(one.sequence >= 0)
    assert np.array_equal(there[back[tokens]], tokens) and len(set(back[tokens])) == len(tokens)
    assert (back[one.sequence == -1] == len(there) - 1).all()
    others = np.delete(there, back[tokens])
    assert (others == len(one.ids) - 1).all()


def test_a_row_of_attention_holds_one_sequence_from_its_first_token_on() -> None:
    (layout,) = flat([of_lengths(MIXED[1])], 64, 0)
    rest, seen = layout.chunks.token_at, []
    for rows, length in layout.chunks.shapes:
        piece, rest = rest[: rows * length].reshape(rows, length), rest[rows * length :]
        owners, positions = layout.sequence[piece], layout.positions[piece]
        assert ((owners == owners[:, :1]) | (owners == -1)).all()
        assert (positions[owners >= 0] == np.broadcast_to(np.arange(length), piece.shape)[owners >= 0]).all()
        seen += owners[:, 0].tolist()
    assert sorted(seen) == list(range(64)) and rest.tolist() == [len(layout.ids) - 1]


def test_parts_of_a_step_have_equal_shapes() -> None:
    parts = [of_lengths(MIXED[n, :many]) for n, many in enumerate((64, 50, 0))]
    for layouts in (flat(parts, 64, 0), packed(parts, 64, 256, 0)):
        assert [holds(layout, part, 0) for layout, part in zip(layouts, parts, strict=True)] == [True] * 3
        shapes = [[array.shape for array in layout[:5]] for layout in layouts]
        assert shapes[0] == shapes[1] == shapes[2]
    chunks = [layout.chunks for layout in flat(parts, 64, 0)]
    assert len({(c.token_at.shape, c.place_of.shape, str(c.shapes)) for c in chunks}) == 1


def test_a_sequence_too_long_for_the_layout_is_refused() -> None:
    with pytest.raises(ValueError, match="a sequence of 5 tokens does not fit into a layout of 2"):
        packed([[sequence(1, 2, 3, 4, 5)]], 1, 2, 0)


def test_sizes_come_from_a_fixed_list() -> None:
    assert [bucket(n) for n in (0, 1, 8, 9, 511, 512, 513, 2600, 4097)] == [0, 8, 8, 16, 512, 512, 528, 2624, 4224]
    assert [bucket(n, 1) for n in (1, 2, 63, 64, 65, 129)] == [1, 2, 63, 64, 66, 132]
    assert len({bucket(n) for n in range(2049, 4097)}) == 32
    assert all(n <= bucket(n) < n * 33 / 32 + 8 for n in range(1, 5000))


def test_rows_come_from_a_fixed_list_of_multiples() -> None:
    numbers = (1, 4, 5, 8, 9, 12, 13, 17, 25, 33, 49)
    assert [bucket_rows(n, 4) for n in numbers] == [4, 4, 8, 8, 12, 12, 16, 24, 32, 48, 64]


def test_attention_is_cut_where_its_padding_is_least() -> None:
    """Against every way to cut."""
    for tops in (np.sort(ABSTRACTS[n, :11])[::-1] for n in range(5)):
        areas = []
        for cuts in itertools.combinations(range(1, 11), CHUNKS - 1):
            bounds = (0, *cuts, 11)
            heights = [-(-tops[start] // 8) * 8 for start in bounds[:-1]]
            areas.append(sum((b - a) * h**2 for a, b, h in zip(bounds, bounds[1:], heights, strict=False)))
        found = chunk_shapes(tops).astype(int)
        assert (found[:, 0] * found[:, 1] ** 2).sum() == min(areas) and found[:, 0].sum() == 11


@pytest.mark.parametrize("lengths", [ABSTRACTS, MIXED])
def test_less_than_a_twentieth_is_padding(lengths: np.ndarray) -> None:
    parts = [of_lengths(batch) for batch in lengths]
    for layouts in (
        [flat([part], 64, 0)[0] for part in parts],
        [packed([part], 64, 256, 0)[0] for part in parts],
    ):
        assert 1 - lengths.sum() / sum(layout.ids.size for layout in layouts) < 0.05
        assert len({layout.ids.shape for layout in layouts}) < 20
