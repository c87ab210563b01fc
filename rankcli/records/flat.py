"""Lists of arrays of differing lengths on disk, read through a memory map, so that they may be larger than memory."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from rankcli.storage.base import guard


class FlatWriter:
    """Appends arrays: their values to one file, and where each ends to another. A context manager."""

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        self.path, self.dtype, self.end = path, np.dtype(dtype), 0
        with guard(path):
            self._values, self._ends = _values(path).open("xb"), _ends(path).open("xb")

    def append(self, arrays: list[npt.NDArray[Any]]) -> None:
        """Write `arrays` behind those that are there."""
        if not arrays:
            return
        ends = np.cumsum([len(array) for array in arrays], dtype=np.int64) + self.end
        self.end = int(ends[-1])
        with guard(self.path):
            self._values.write(np.concatenate(arrays).astype(self.dtype).tobytes())
            self._ends.write(ends.tobytes())

    def __enter__(self) -> FlatWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with guard(self.path):
            self._values.close()
            self._ends.close()


class Flat:
    """What a FlatWriter wrote: `flat[n]` is array n, `values` all of them joined."""

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        with guard(path):
            self.values, self._ends = _map(_values(path), dtype), _map(_ends(path), np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, n: int) -> npt.NDArray[Any]:
        return self.values[self._ends[n - 1] if n else 0 : self._ends[n]]


def _values(path: Path) -> Path:
    return path.with_name(f"{path.name}.values")


def _ends(path: Path) -> Path:
    return path.with_name(f"{path.name}.ends")


def _map(path: Path, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    if path.stat().st_size == 0:  # cannot be mapped
        return np.zeros(0, dtype)
    return np.asarray(np.memmap(path, dtype, "r"))  # of the plain class, which is several times faster to index
