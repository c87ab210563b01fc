"""Numbers as pieces of their range (piecewise linear encoding; Gorishniy et al., NeurIPS 2022, section 3.2).

A feature with edges e_0 < e_1 < ... becomes one number per piece: (x - e_{n-1}) / (e_n - e_{n-1}), cut to 0..1. So the
pieces below x are 1, those above it 0, and a linear model of them is a broken line over each feature.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from rankcli.shapes import Floats

MOST = 50_000  # rows whose quantiles are taken, so that memory is flat


class Pieces:
    """The edges of each feature; one with fewer than two has no piece."""

    def __init__(self, edges: Sequence[Sequence[float]]) -> None:
        self.edges = [list(each) for each in edges]
        each = [(column, low, high) for column, at in enumerate(edges) for low, high in zip(at, at[1:], strict=False)]
        self._columns = np.array([column for column, _, _ in each], np.int64)
        self._low = np.array([low for _, low, _ in each], np.float32)
        self._length = np.array([high - low for _, low, high in each], np.float32)

    def __len__(self) -> int:
        return len(self._columns)

    def __call__(self, values: Floats) -> Floats:
        """Return the pieces of features, float32 [K, pieces]."""
        found: Floats = np.clip((values[:, self._columns] - self._low) / self._length, 0, 1)
        return found


def edges_of(blocks: Iterable[Floats], pieces: int) -> list[list[float]]:
    """Return the edges of each column: 0, which mostly stands for a missing value, and quantiles of all other values
    that cut these into `pieces` equal parts. Equal edges are one.
    """
    rows = _thinned(blocks)
    shares = np.linspace(0, 1, pieces + 1)
    found = []
    for values in rows.T:
        others = values[values != 0]
        ends = np.quantile(others, shares) if len(others) else []
        found.append(np.unique(np.concatenate([[0.0], ends]).astype(np.float32)).tolist())
    return found


def _thinned(blocks: Iterable[Floats]) -> Floats:
    """Return all rows if they are few, else every second, fourth, ..., so that `MOST` to 2 * `MOST` are left."""
    kept: list[Floats] = []
    step, seen, count = 1, 0, 0
    for block in blocks:
        kept.append(block[-seen % step :: step].copy())
        seen, count = seen + len(block), count + len(kept[-1])
        if count > 2 * MOST:
            kept, step = [np.concatenate(kept)[::2]], 2 * step
            count = len(kept[0])
    return np.concatenate(kept)
