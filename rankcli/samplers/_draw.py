"""Random choices that are pure functions of (seed, purpose, n).

They use the raw output of the Philox generator, whose bits NumPy promises not to change. The methods of
`numpy.random.Generator` may change between versions of NumPy, and a cached sample must not.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rankcli.shapes import Ints

# purposes: the order of the queries in pass n; the documents of sample n; the order of the samplers in block n
ORDER, GROUP, MIXTURE = 0, 1, 2
SORTED = 1 << 16  # numbers; sorting more takes too much time and memory at every new pass
ROUNDS = 8  # of a shuffle, an even number; at least four look random (Luby and Rackoff, 1988)
_WORD = (1 << 64) - 1


class _Philox(threading.local):
    """One generator per thread, whose state is set for each call: making a new one takes ten times as long."""

    def __init__(self) -> None:
        self._generator = np.random.Philox(key=0)
        self._state = self._generator.state

    def raw(self, seed: int, purpose: int, n: int, count: int) -> npt.NDArray[np.uint64]:
        """The first `count` numbers of the generator with key (seed, n) and a counter that starts at `purpose`."""
        key, counter = self._state["state"]["key"], self._state["state"]["counter"]
        key[0], key[1], counter[3] = seed & _WORD, n, purpose
        self._generator.state = self._state
        return self._generator.random_raw(count)


_philox = _Philox()


class Draws:
    """A sequence of at most `most` choices, each depending on (seed, purpose, n) and its place in the sequence."""

    def __init__(self, seed: int, purpose: int, n: int, most: int) -> None:
        bits: list[int] = _philox.raw(seed, purpose, n, most).tolist()
        self._bits = iter(bits)

    def below(self, count: int) -> int:
        """A number of 0..count-1, uniform to one part in 2^64 / count."""
        return next(self._bits) * count >> 64

    def weighted(self, weights: Sequence[float]) -> int:
        """A number of 0..len-1, each with a chance in proportion to its weight."""
        point, last = (next(self._bits) >> 11) / (1 << 53) * math.fsum(weights), 0
        for number, weight in enumerate(weights):
            if weight:
                last = number
                if point < weight:
                    break
                point -= weight
        return last

    def distinct(self, count: int, size: int) -> list[int]:
        """`size` different numbers of 0..count-1 in random order: the start of a Fisher-Yates shuffle."""
        moved: dict[int, int] = {}
        picked = []
        for i in range(size):
            j = i + self.below(count - i)
            picked.append(moved.get(j, j))
            moved[j] = moved.get(i, i)
        return picked


@functools.lru_cache(maxsize=2)
def permutation(seed: int, purpose: int, n: int, count: int) -> Ints | Shuffle:
    """The numbers 0..count-1 in random order; the last two orders are cached, since neighbouring samples share one.

    Up to `SORTED` numbers are sorted by random keys, as all were in the first version; more are shuffled one at a time.
    """
    if count > SORTED:
        return Shuffle(count, tuple(_philox.raw(seed, purpose, n, ROUNDS).tolist()))
    order = np.argsort(_philox.raw(seed, purpose, n, count), kind="stable")
    order.flags.writeable = False
    return order


class Shuffle:
    """A permutation of 0..count-1 given by `keys`; each place is computed alone, without memory for the others.

    A number is a column and a row of a table that is about square and has at least `count` cells. In turn one of the
    two is shifted by a keyed hash of the other. Each such step can be undone, so the whole is a permutation: a Feistel
    network for any number of cells (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002, section
    5). A cell at or above `count` goes through it again until it falls below ("cycle walking", section 3); fewer than
    one in sqrt(count) cells need that.
    """

    def __init__(self, count: int, keys: Sequence[int]) -> None:
        self.count, self.keys = count, keys
        self.columns = math.isqrt(count - 1) + 1
        self.rows = -(-count // self.columns)

    def __getitem__(self, place: int) -> int:
        number = self._moved(place)
        while number >= self.count:
            number = self._moved(number)
        return number

    def _moved(self, number: int) -> int:
        row, column = divmod(number, self.columns)
        for one, other in zip(self.keys[::2], self.keys[1::2], strict=True):
            column = (column + _mixed(row ^ one)) % self.columns
            row = (row + _mixed(column ^ other)) % self.rows
        return row * self.columns + column


def _mixed(bits: int) -> int:
    """64 bits that depend on all of `bits`: the finaliser of SplitMix64 with the constants of Stafford's variant 13
    (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
    """
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & _WORD
    return bits ^ bits >> 31
