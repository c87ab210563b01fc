"""Random choices that are pure functions of (seed, purpose, n).

They are made from the raw output of the Philox generator, whose bits NumPy promises to keep; what
`numpy.random.Generator` makes of those bits may change between its versions, and a cached sample must not.
"""

from __future__ import annotations

import functools

import numpy as np

from rankcli.shapes import Ints

ORDER, GROUP = 0, 1  # purposes: the order of the queries in pass n; the documents of sample n
_WORD = (1 << 64) - 1


def _generator(seed: int, purpose: int, n: int) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed & _WORD, n], np.uint64), counter=np.array([0, 0, 0, purpose], np.uint64))


class Draws:
    """A sequence of choices, each depending on (seed, purpose, n) and its place in the sequence."""

    def __init__(self, seed: int, purpose: int, n: int) -> None:
        self._bits = _generator(seed, purpose, n)

    def below(self, count: int) -> int:
        """A number of 0..count-1, uniform to one part in 2^64 / count."""
        return int(self._bits.random_raw()) * count >> 64

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
def permutation(seed: int, purpose: int, n: int, count: int) -> Ints:
    """The numbers 0..count-1 in random order; the last two are kept, since neighbouring samples share one."""
    order = np.argsort(_generator(seed, purpose, n).random_raw(count), kind="stable")
    order.flags.writeable = False
    return order
