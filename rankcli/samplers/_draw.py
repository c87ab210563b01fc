"""Random choices that are pure functions of (seed, purpose, n).

They are made from the raw output of the Philox generator, whose bits NumPy promises to keep; what
`numpy.random.Generator` makes of those bits may change between its versions, and a cached sample must not.
"""

from __future__ import annotations

import functools
import threading

import numpy as np
import numpy.typing as npt

from rankcli.shapes import Ints

ORDER, GROUP = 0, 1  # purposes: the order of the queries in pass n; the documents of sample n
_WORD = (1 << 64) - 1


class _Philox(threading.local):
    """One generator for each thread, set to where it is needed: making one takes ten times as long."""

    def __init__(self) -> None:
        self._generator = np.random.Philox(key=0)
        self._state = self._generator.state

    def raw(self, seed: int, purpose: int, n: int, count: int) -> npt.NDArray[np.uint64]:
        """The first `count` numbers of the generator with the key (seed, n) that starts to count at `purpose`."""
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
    order = np.argsort(_philox.raw(seed, purpose, n, count), kind="stable")
    order.flags.writeable = False
    return order
