"""Sequences in memory: the padded layout and the few shapes it comes in."""

from __future__ import annotations

import numpy as np
import pytest

from rankcli.records.layout import bucket_length, bucket_rows, padded
from rankcli.shapes import TokenSequence


def sequence(*ids: int, doc: int = 0) -> TokenSequence:
    return TokenSequence(np.array(ids, np.int64), np.arange(len(ids)) % 2, doc)


def test_the_padded_layout_is_this() -> None:
    field = padded([sequence(5, 6, 7), sequence(8)], np.array([2, 0]), 3, 4, 9, pad_owner=-1)
    assert field.layout.ids.tolist() == [[5, 6, 7, 9], [8, 9, 9, 9], [9, 9, 9, 9]]
    assert field.layout.positions.tolist() == [[0, 1, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert field.layout.segments.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert field.layout.sequence.tolist() == [[0, 0, 0, -1], [1, -1, -1, -1], [-1, -1, -1, -1]]
    assert field.owner.tolist() == [2, 0, -1]
    assert {array.dtype for array in (*field.layout, field.owner)} == {np.dtype(np.int32)}


def test_rows_are_as_many_as_sequences_unless_said() -> None:
    field = padded([sequence(5), sequence(6)], np.array([1, 0, 0]), None, 8, 0)
    assert field.layout.ids.shape == (2, 8) and field.owner.tolist() == [1, 0, 0]


def test_no_sequences_make_padding_only() -> None:
    field = padded([], np.array([], np.int32), 2, 4, 0, pad_owner=-1)
    assert (field.layout.sequence == -1).all() and field.owner.tolist() == [-1, -1]


def test_a_sequence_too_long_for_the_layout_is_refused() -> None:
    with pytest.raises(ValueError, match="a sequence of 3 tokens does not fit into a layout of 2"):
        padded([sequence(1, 2, 3)], np.array([0]), 1, 2, 0)


def test_lengths_come_from_a_fixed_list() -> None:
    assert [bucket_length(n, 512) for n in (0, 1, 8, 9, 64, 65, 81, 256, 257, 289, 512)] == [
        *(8, 8, 8, 16, 64, 80, 96, 256, 288, 320, 512)
    ]
    assert bucket_length(45, 50) == 48 and bucket_length(49, 50) == 50
    assert len({bucket_length(n, 512) for n in range(1, 513)}) == 8 + 12 + 8


def test_rows_come_from_a_fixed_list_of_multiples() -> None:
    assert [bucket_rows(n, 4) for n in (1, 4, 5, 8, 9, 12, 13, 17, 25, 33, 49)] == [
        4,
        4,
        8,
        8,
        12,
        12,
        16,
        24,
        32,
        48,
        64,
    ]


def test_padding_wastes_little() -> None:
    lengths = np.random.default_rng(0).integers(20, 512, 2000)
    padded_to = np.array([bucket_length(int(n), 512) for n in lengths])
    assert 1 - lengths.sum() / padded_to.sum() < 0.06
