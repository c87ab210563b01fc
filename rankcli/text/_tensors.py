"""Tensors by name, read when they are accessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

Shapes = Mapping[str, tuple[int, ...]]


class Tensors(Mapping[str, np.ndarray]):
    """Tensors with known `shapes`, each read once, when it is first accessed, and then kept in memory.

    So shapes can be compared before memory is taken, and tensors that nobody accesses are never read.
    """

    def __init__(self, shapes: Shapes, read: Callable[[str], np.ndarray]) -> None:
        self.shapes = shapes
        self._read = read
        self._kept: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._kept:
            if name not in self.shapes:
                raise KeyError(name)
            self._kept[name] = self._read(name)
        return self._kept[name]

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def renamed(self, names: Mapping[str, str]) -> Tensors:
        """The tensors that are values of `names`, under the keys of `names`; a tensor is still read and kept once."""
        return Tensors({new: self.shapes[old] for new, old in names.items()}, lambda new: self[names[new]])


def shapes_of(tensors: Mapping[str, np.ndarray]) -> Shapes:
    """The shape of each tensor; nothing is read."""
    return tensors.shapes if isinstance(tensors, Tensors) else {name: t.shape for name, t in tensors.items()}
