"""The variables of one part of a model: made, read, frozen, saved and loaded in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from rankcli.backend import tf
from rankcli.encoders import _arithmetic
from rankcli.encoders.initial import variable
from rankcli.encoders.weights import Arrays, Weight, values_from

Tensor: TypeAlias = Any

CONSTANT_BYTES = 1 << 28  # BERT-base has 170 MB in bfloat16; a graph may have 2 GB, and its optimiser copies it


class Parameters:
    """The variables of `weights`, which are float32, and the tensors that a model computes with, in `dtype`.

    `root` comes before the path of every weight: `variables` has whole paths, a part of a model asks for its own
    (`parameters["layer_0/output/kernel"]`). A variable starts from what `seed` and its whole path say. What derives
    from this class and changes `exact` changes what is computed, frozen and saved (see `Adapter`).
    """

    def __init__(
        self, weights: Sequence[Weight], seed: int = 42, dtype: str = "float32", scale: float = 0.02, root: str = ""
    ) -> None:
        self.root = root
        self.dtype = tf.as_dtype(dtype)
        self.weights: list[Weight] = [weight.under(root) for weight in weights] if root else list(weights)
        self.variables: dict[str, Any] = {
            w.path: variable(w.path, w.shape, w.init, seed, scale if w.scale is None else w.scale, w.trainable)
            for w in self.weights
        }
        self._constants: dict[str, np.ndarray] = {}

    def __contains__(self, path: str) -> bool:
        return self._whole(path) in self.variables

    def __getitem__(self, path: str) -> Tensor:
        """The tensor at a path below the root in the dtype of computation; a constant where it is frozen."""
        constant = self._constants.get(self._whole(path))
        return tf.cast(self.exact(path), self.dtype) if constant is None else tf.constant(constant)

    def exact(self, path: str) -> Tensor:
        """What is at a path below the root in float32, for look-ups and normalisation."""
        return self.variables[self._whole(path)]

    def freeze(self) -> None:
        """Have what is traced from now on hold kernels and biases as constants, in the dtype that it computes in: on
        CPUs oneDNN lays constant kernels out once, and products take an eighth less time.
        """
        used = [weight for weight in self.weights if weight.path.endswith(("/kernel", "/bias"))]
        size = sum(int(np.prod(weight.shape)) for weight in used) * self.dtype.size
        if _arithmetic.on_cpu() and size <= CONSTANT_BYTES:
            self._constants = {w.path: tf.cast(self._exact_of(w), self.dtype).numpy() for w in used}

    def tensors(self) -> Arrays:
        """All weights by the names that they are stored under, kernels [out, in]."""
        return {name: part for w in self.weights for name, part in w.stored(self._exact_of(w).numpy()).items()}

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Set all weights from what `tensors` returned; StorageError, with nothing set, when names or shapes differ."""
        self.update(values_from(self.weights, tensors, self.root or "model"))

    def update(self, values: Mapping[str, np.ndarray]) -> None:
        """Set the weights at these whole paths; `exact` is these values from then on."""
        for path, value in values.items():
            self.variables[path].assign(value)

    def _exact_of(self, weight: Weight) -> Tensor:
        return self.exact(weight.path[len(self._whole("")) :])

    def _whole(self, path: str) -> str:
        return f"{self.root}/{path}" if self.root else path


class Adapter(Protocol):
    """A change of how weights are held or trained: low-rank updates, 8-bit integers, a part that stays as it is."""

    def wrap(self, parameters: Parameters) -> Parameters:
        """Parameters with the same weights: `exact` gives the changed ones, `variables` has those of its own, too, and
        `update` sets what `exact` gives.
        """
