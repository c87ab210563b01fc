"""The variables of one part of a model: created, read, frozen, saved and loaded in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from rankcli.backend import on_cpu, tf
from rankcli.encoders import _arithmetic
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.initial import variable
from rankcli.encoders.weights import Arrays, Weight, values_from

Tensor: TypeAlias = Any

CONSTANT_BYTES = 1 << 28  # BERT-base has 170 MB in bfloat16; a graph is limited to 2 GB, and its optimiser copies it


class Parameters:
    """The variables of `weights`, in float32, and the tensors that a model computes with, in `dtype`.

    `root` comes before the path of every weight. `variables` has whole paths, but lookups use paths below the root
    (`parameters["layer_0/output/kernel"]`). Random initial values depend on `seed` and the whole path. A subclass that
    overrides `exact` changes the values that are computed with, frozen and saved (see `Adapter`). `drops` tells that
    `dense` has a dropout of its own in training. With `recompute`, what layers compute is not kept for gradients, but
    computed again.
    """

    drops = False
    recompute = False

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
        """Return the tensor at a path below the root in the dtype of the computation; a constant if it is frozen."""
        constant = self._constants.get(self._whole(path))
        return tf.cast(self.exact(path), self.dtype) if constant is None else tf.constant(constant)

    def exact(self, path: str) -> Tensor:
        """Return the float32 value at a path below the root, for look-ups and normalisation."""
        return self.variables[self._whole(path)]

    def is_frozen(self, path: str) -> bool:
        """True if there are variables below a path, and none of them is ever trained."""
        below = [v for name, v in self.variables.items() if name.startswith(f"{self._whole(path)}/")]
        return bool(below) and not any(v.trainable for v in below)

    def dense(self, path: str, x: Tensor, dropout: Dropout | None = None) -> Tensor:
        """Apply the dense layer at a path: tokens [T, I] to [T, O]. `dropout` is given in training only."""
        return _arithmetic.affine(x, self[f"{path}/kernel"], self.bias(path))

    def bias(self, path: str) -> Tensor | None:
        """Return the bias of the dense layer at a path, None if it has none."""
        known = f"{path}/bias" in self
        return self[f"{path}/bias"] if known else None

    def freeze(self) -> None:
        """Make graphs traced from now on contain kernels and biases as constants, in the dtype of the computation.

        On CPUs, oneDNN then rearranges constant kernels only once, and matrix products take an eighth less time.
        """
        used = [weight for weight in self.weights if weight.path.endswith(("/kernel", "/bias"))]
        size = sum(int(np.prod(weight.shape)) for weight in used) * self.dtype.size
        if on_cpu() and size <= CONSTANT_BYTES:
            self._constants = {w.path: tf.cast(self._exact_of(w), self.dtype).numpy() for w in used}

    def tensors(self) -> Arrays:
        """Return all weights by their stored names, kernels [out, in]."""
        return {name: part for w in self.weights for name, part in w.stored(self._exact_of(w).numpy()).items()}

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Set all weights from the result of `tensors`; StorageError, with nothing set, when names or shapes differ."""
        self.update(values_from(self.weights, tensors, self.root or "model"))

    def update(self, values: Mapping[str, np.ndarray]) -> None:
        """Set the weights at these whole paths; afterwards `exact` returns these values."""
        for path, value in values.items():
            self.variables[path].assign(value)

    def _exact_of(self, weight: Weight) -> Tensor:
        return self.exact(weight.path[len(self._whole("")) :])

    def _whole(self, path: str) -> str:
        return f"{self.root}/{path}" if self.root else path


class Adapter(Protocol):
    """A change of how weights are stored or trained: low-rank updates, 8-bit integers, a part that is not trained."""

    def wrap(self, parameters: Parameters) -> Parameters:
        """Return parameters with the same weights.

        `exact` returns the changed values. `variables` has those that are trained and kept in checkpoints, the
        adapter's own among them. `update` sets the values that `exact` returns.
        """

    def save(self, directory: Path, parts: Mapping[str, Parameters]) -> None:
        """Write files of the adapter's own beside saved weights, if it has any. `parts` are those of a reranker."""
