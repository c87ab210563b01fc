"""The samples of each shard, by hand and for any numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankcli.records.stripes import STRIPES, Range, positions, ranges

COUNTS = st.integers(0, 400)
PER_SHARD = st.integers(1, 20)


def test_sample_n_lies_in_stripe_n_modulo_8_at_position_n_over_8() -> None:
    """21 samples, at most two per shard: stripes 0 to 4 have three positions, the others two."""
    whole = [
        ("shard-00-00000000-00000002.tfrecord", [0, 8]),
        ("shard-01-00000000-00000002.tfrecord", [1, 9]),
        ("shard-02-00000000-00000002.tfrecord", [2, 10]),
        ("shard-03-00000000-00000002.tfrecord", [3, 11]),
        ("shard-04-00000000-00000002.tfrecord", [4, 12]),
        ("shard-05-00000000-00000002.tfrecord", [5, 13]),
        ("shard-06-00000000-00000002.tfrecord", [6, 14]),
        ("shard-07-00000000-00000002.tfrecord", [7, 15]),
        ("shard-00-00000002-00000003.tfrecord", [16]),
        ("shard-01-00000002-00000003.tfrecord", [17]),
        ("shard-02-00000002-00000003.tfrecord", [18]),
        ("shard-03-00000002-00000003.tfrecord", [19]),
        ("shard-04-00000002-00000003.tfrecord", [20]),
    ]
    assert [(shard.name, list(shard.samples)) for shard in ranges(0, 21, 2)] == whole


def test_an_extension_fills_up_the_shards_that_were_begun_and_begins_others() -> None:
    """From 9 to 21 samples of three per shard: stripe 0 has positions 0 and 1, the others position 0."""
    added = {shard: list(shard.samples) for shard in ranges(9, 21, 3)}
    assert added == {
        Range(1, 1, 3): [9, 17],
        Range(2, 1, 3): [10, 18],
        Range(3, 1, 3): [11, 19],
        Range(4, 1, 3): [12, 20],
        Range(5, 1, 2): [13],
        Range(6, 1, 2): [14],
        Range(7, 1, 2): [15],
        Range(0, 2, 3): [16],
    }
    assert ranges(9, 8, 3) == ranges(9, 9, 3) == []


@pytest.mark.parametrize(("samples", "counts"), [(0, [0] * 8), (1, [1] + [0] * 7), (19, [3, 3, 3, 2, 2, 2, 2, 2])])
def test_positions_are_dealt_out_in_turn(samples: int, counts: list[int]) -> None:
    assert [positions(samples, stripe) for stripe in range(STRIPES)] == counts


@given(COUNTS, COUNTS, PER_SHARD)
def test_every_new_sample_lies_in_exactly_one_shard(have: int, want: int, per_shard: int) -> None:
    shards = ranges(have, want, per_shard)
    assert sorted(n for shard in shards for n in shard.samples) == list(range(have, want))
    assert all(0 < len(shard.samples) <= per_shard for shard in shards)
    assert all(
        n % 8 == shard.stripe and n // 8 in range(shard.first, shard.end) for shard in shards for n in shard.samples
    )
    assert [shard.samples[0] for shard in shards] == sorted(shard.samples[0] for shard in shards)


@given(COUNTS, COUNTS, PER_SHARD)
def test_full_shards_of_a_smaller_cache_are_those_of_a_larger_one(one: int, other: int, per_shard: int) -> None:
    smaller, larger = (ranges(0, samples, per_shard) for samples in sorted((one, other)))
    assert {shard for shard in smaller if len(shard.samples) == per_shard} <= set(larger)


@given(st.lists(COUNTS, min_size=2, max_size=5).map(sorted), PER_SHARD)
def test_extensions_only_add_and_end_where_a_whole_conversion_does(steps: list[int], per_shard: int) -> None:
    """Shards follow each other without gap or overlap in every stripe, whatever the steps."""
    found = [shard for have, want in zip([0, *steps], steps, strict=False) for shard in ranges(have, want, per_shard)]
    assert len(set(found)) == len(found)
    for stripe in range(STRIPES):
        ends = [(shard.first, shard.end) for shard in found if shard.stripe == stripe]
        joined = [0, *(end for _, end in ends)]
        assert [first for first, _ in ends] == joined[:-1] and joined[-1] == positions(steps[-1], stripe)
        assert all((end - 1) // per_shard == first // per_shard for first, end in ends)
