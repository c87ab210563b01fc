"""The division of samples into shards: a pure function of numbers, so that machines agree on it without messages.

Sample n is in stripe n % 8, at position n // 8. A shard has some consecutive positions of one stripe. Reading takes the
stripes in turn, which gives the samples in order, from eight files at once.
"""

from __future__ import annotations

from typing import NamedTuple

STRIPES = 8


class Range(NamedTuple):
    """The samples of one shard: positions `first` to `end` - 1 of a stripe."""

    stripe: int
    first: int
    end: int

    @property
    def name(self) -> str:
        """The shard's file name."""
        return f"shard-{self.stripe:02d}-{self.first:08d}-{self.end:08d}.tfrecord"

    @property
    def samples(self) -> range:
        """The numbers of the samples, in the order of their records."""
        return range(self.first * STRIPES + self.stripe, self.end * STRIPES + self.stripe, STRIPES)


def positions(samples: int, stripe: int) -> int:
    """The number of the first `samples` samples that are in a stripe."""
    return max(0, -(-(samples - stripe) // STRIPES))


def ranges(have: int, want: int, per_shard: int) -> list[Range]:
    """The shards that extend a cache of `have` samples to `want`, in the order in which they are read.

    Shards end at multiples of `per_shard` positions, except the last of each stripe.
    """
    found = []
    for stripe in range(STRIPES):
        first, last = positions(have, stripe), positions(want, stripe)
        while first < last:
            end = min((first // per_shard + 1) * per_shard, last)
            found.append(Range(stripe, first, end))
            first = end
    return sorted(found, key=lambda shard: shard.samples[0])
