"""Vectors of numbered texts, in files: how many there are takes no memory, and what fits is in the system's cache."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rankcli.shapes import Floats, Ints
from rankcli.storage.disk import guard
from rankcli.storage.places import work_root

_NUMBER = np.dtype("<f4")


class Vectors:
    """A file with a row of `width` numbers, float32, for each text, in the order of their numbers.

    It is mapped for one look-up at a time, so that what was read once does not count as memory.
    """

    def __init__(self, file: BinaryIO, where: Path, width: int = 0) -> None:
        self._file, self._where, self.width = file, where, width

    def put(self, numbers: Sequence[int], vectors: Floats) -> None:
        """Write the vectors of some texts."""
        self.width = vectors.shape[1]
        with guard(self._where, vectors.nbytes):
            for number, vector in zip(numbers, vectors.astype(_NUMBER), strict=True):
                self._file.seek(number * vector.nbytes)
                self._file.write(vector.tobytes())
            self._file.flush()

    def get(self, numbers: Sequence[int] | Ints) -> Floats:
        """Return the vectors of some texts, [N, width]; IndexError for a number beyond the last one written."""
        with guard(self._where):
            rows = self._file.seek(0, 2) // max(self.width * _NUMBER.itemsize, 1)
            shape = (rows, self.width)
            mapped = np.asarray(np.memmap(self._file, _NUMBER, "r", shape=shape)) if rows else np.zeros(shape, _NUMBER)
        found: Floats = mapped[np.asarray(numbers, np.int64)].astype(np.float32)
        return found


@contextmanager
def temporary_vectors(fields: Iterable[str]) -> Iterator[dict[str, Vectors]]:
    """Vectors of each field in files without a name, which are gone when the process ends."""
    root = work_root()
    with ExitStack() as stack:
        with guard(root):
            root.mkdir(parents=True, exist_ok=True)
            files = {field: stack.enter_context(tempfile.TemporaryFile(dir=root)) for field in fields}
        yield {field: Vectors(file, root) for field, file in files.items()}
