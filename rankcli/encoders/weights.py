"""The weights of an encoder: our paths and shapes, and the names and orientation in Hugging Face's files."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rankcli.encoders.initial import Init
from rankcli.errors import StorageError
from rankcli.text.weights import shapes_of

Arrays = dict[str, np.ndarray]
_LAYER = re.compile(r"layer_(\d+)/")


@dataclass(frozen=True)
class Weight:
    """One variable, stored as one tensor or several.

    The tensors `names` are concatenated along its last axis. Kernels are [in, out] here and [out, in] in files. Initial
    values are random with a standard deviation of `scale`, by default that of the model, or constants.
    """

    path: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    init: Init
    transposed: bool = False
    scale: float | None = None
    trainable: bool = True

    def stored(self, value: np.ndarray) -> Arrays:
        """Return the variable's value by stored name, in stored orientation."""
        parts = np.split(value, len(self.names), axis=-1) if len(self.names) > 1 else [value]
        return {name: np.ascontiguousarray(self._turned(part)) for name, part in zip(self.names, parts, strict=True)}

    def joined(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the variable's value from its stored tensors."""
        return np.concatenate([self._turned(tensors[name]) for name in self.names], axis=-1).astype(np.float32)

    def prefixed(self, prefix: str) -> Weight:
        """Return the same weight, stored under `PREFIX.NAME`."""
        return dataclasses.replace(self, names=tuple(f"{prefix}.{name}" for name in self.names))

    def under(self, root: str) -> Weight:
        """Return the same weight, with the path `ROOT/PATH`."""
        return dataclasses.replace(self, path=f"{root}/{self.path}")

    def stored_shape(self) -> tuple[int, ...]:
        """Return the shape of each stored tensor."""
        shape = (*self.shape[:-1], self.shape[-1] // len(self.names))
        return shape[::-1] if self.transposed else shape

    def _turned(self, part: np.ndarray) -> np.ndarray:
        return part.T if self.transposed else part


def with_frozen(weights: Sequence[Weight], frozen: bool | int) -> list[Weight]:
    """Return an encoder's weights, all of them not to be trained, or those of the embeddings and of that many of the
    lowest layers.
    """
    if frozen is False:
        return list(weights)
    return [dataclasses.replace(w, trainable=frozen is not True and _is_above(w.path, frozen)) for w in weights]


def _is_above(path: str, layers: int) -> bool:
    """True for a weight that is used only after the numbered lowest layers."""
    layer = _LAYER.match(path)
    return int(layer[1]) >= layers if layer else path.startswith(("pooler/", "last_norm/"))


def table(path: str, name: str, rows: int, width: int) -> Weight:
    """Return a look-up table [rows, width], stored as `NAME.weight`."""
    return Weight(path, (rows, width), (f"{name}.weight",), "normal")


def dense(path: str, names: tuple[str, ...], inputs: int, outputs: int, bias: bool = True) -> list[Weight]:
    """Return a dense layer from `inputs` to `outputs` numbers per name. Several names are layers of one input."""
    width = outputs * len(names)
    kernels, biases = (tuple(f"{name}.{part}" for name in names) for part in ("weight", "bias"))
    kernel = Weight(f"{path}/kernel", (inputs, width), kernels, "normal", transposed=True)
    return [kernel, Weight(f"{path}/bias", (width,), biases, "zeros")] if bias else [kernel]


def norm(path: str, name: str, width: int, bias: bool = True) -> list[Weight]:
    """Return factors and, with `bias`, offsets of a normalisation over `width` numbers."""
    gamma = Weight(f"{path}/gamma", (width,), (f"{name}.weight",), "ones")
    return [gamma, Weight(f"{path}/beta", (width,), (f"{name}.bias",), "zeros")] if bias else [gamma]


def stored_names(weights: Iterable[Weight]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all stored tensors of the weights, by name."""
    return {name: weight.stored_shape() for weight in weights for name in weight.names}


def values_from(
    weights: Iterable[Weight], tensors: Mapping[str, np.ndarray], of: str = "encoder", where: str = ""
) -> Arrays:
    """Return the value of each weight by path.

    One StorageError lists all tensors that are missing, unknown or of another shape. No tensor is read before all
    shapes are right. Position and segment counters that old checkpoints store as buffers are not weights; they are
    ignored.
    """
    weights = list(weights)
    wanted, found = stored_names(weights), shapes_of(tensors)
    faults = [f"{name} is missing" for name in wanted if name not in found]
    faults += [f"{name} is not a weight of this {of}" for name in found if name not in wanted and not is_buffer(name)]
    faults += [
        f"{name} has shape {list(found[name])}, not {list(shape)}"
        for name, shape in wanted.items()
        if name in found and tuple(found[name]) != shape
    ]
    if faults:
        what = f"weights do not fit the {of}: {listed(faults)}"
        raise StorageError(what, where=where, fix="load weights of the same options")
    return {weight.path: weight.joined(tensors) for weight in weights}


def is_buffer(name: str) -> bool:
    """True for a counter of positions or segments, which old checkpoints store in addition to weights."""
    return name.endswith(("position_ids", "token_type_ids"))


def listed(faults: list[str], most: int = 20) -> str:
    """Return the first of the faults, and the number of the others."""
    more = f"; and {len(faults) - most} more" if len(faults) > most else ""
    return "; ".join(faults[:most]) + more
