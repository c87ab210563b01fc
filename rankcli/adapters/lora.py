"""Low-rank adaptation (Hu et al. 2021): frozen kernels, and a trained product of two thin matrices beside each."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rankcli.adapters import _peft
from rankcli.adapters.base import AdapterOptions
from rankcli.backend import tf
from rankcli.config.registry import ADAPTERS, option
from rankcli.config.types import PositiveFloat, PositiveInt, Rate, check_regex
from rankcli.encoders import _arithmetic
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.initial import variable
from rankcli.encoders.parameters import Parameters, Tensor
from rankcli.encoders.weights import Weight
from rankcli.errors import ConfigError

_WHOLE = re.compile(r"(^|/)pooler/")  # part of a classifier: trained as a whole, as the classifier is


@ADAPTERS.register("lora")
@dataclass(frozen=True, kw_only=True)
class Lora(AdapterOptions):
    """Kernels W become W + alpha / rank A B, of which only A [in, rank] and B [rank, out] are trained (Hu et al. 2021).

    B starts from zeros, so that an untrained model scores as without it. Classifier and pooler are trained as a whole.
    Targets are modules by their stored names, such as `encoder.layer.0.attention.self.query`. Saved weights are merged.
    """

    rank: PositiveInt = option(8, "size of the product's inner side")
    alpha: PositiveFloat = option(16.0, "factor of the product, which is divided by the rank")
    dropout: Rate = option(0.0, "dropout rate of the product's input, in training")
    targets: str | None = option(
        None, "regular expression, looked for in names of modules; default: queries and values of attention"
    )
    keep: bool = option(
        False, "also save the adapter alone, as `peft` does, in the folder `adapter` of saved weights", identity=False
    )

    def __post_init__(self) -> None:
        check_regex("targets", self.targets or "")

    @property
    def keeps_base(self) -> bool:
        """True with `keep`: PEFT's files name the model that they belong to."""
        return self.keep

    def build(self, seed: int, model: str | None) -> LoraAdapter:
        """Build it for an encoder from `model`; A starts from `seed`."""
        return LoraAdapter(self, seed, model)


class LoraAdapter:
    """Freezes the encoder's weights, and adds trained products to the targets among its kernels."""

    def __init__(self, options: Lora, seed: int, model: str | None) -> None:
        self._options, self._seed, self._model = options, seed, model

    def wrap(self, parameters: Parameters) -> LoraParameters:
        """Return parameters with products; ConfigError if no module is a target."""
        targets = {weight.path: found for weight in parameters.weights if (found := self._targets(weight))}
        if not targets:
            modules = [name for weight in parameters.weights for name in _modules(weight)]
            raise ConfigError(
                f"{self._options.targets!r} is in no name of a module: {', '.join(modules[:8])}, ...",
                where="reranker.adapter.targets",
            )
        return LoraParameters(parameters, targets, self._options, self._seed)

    def save(self, directory: Path, parts: Mapping[str, Parameters]) -> None:
        """Write PEFT's files into the folder `adapter`, if the options say so."""
        if self._options.keep:
            _peft.write(directory, parts, self._options, self._model or "")

    def _targets(self, weight: Weight) -> list[int]:
        """Return the places of the targets among the modules that are stored as one kernel."""
        modules = _modules(weight)
        if self._options.targets is None:
            return sorted({0, len(modules) - 1}) if modules and weight.path.endswith("attention/qkv/kernel") else []
        return [n for n, name in enumerate(modules) if re.search(self._options.targets, name)]


class LoraParameters(Parameters):
    """The weights of other parameters, frozen but for poolers, with products of A and B added to `targets`.

    A kernel of several modules has the A of its targets side by side, [in, targets x rank], and B by target, [targets,
    rank, out].
    """

    def __init__(self, base: Parameters, targets: Mapping[str, Sequence[int]], options: Lora, seed: int) -> None:
        self.root, self.dtype, self.weights, self._constants = base.root, base.dtype, base.weights, {}
        self.targets, self.options = targets, options
        self.drops = options.dropout > 0
        self._frozen = {path: v if _WHOLE.search(path) else _fixed(v, path) for path, v in base.variables.items()}
        self.variables = {path: v for path, v in base.variables.items() if _WHOLE.search(path)}
        for weight in base.weights:
            if weight.path in targets:
                self.variables |= _products(weight, len(targets[weight.path]), options.rank, seed)
        self._names = {weight.path: len(weight.names) for weight in base.weights}

    def __contains__(self, path: str) -> bool:
        return self._whole(path) in self._frozen

    def exact(self, path: str) -> Tensor:
        """Return the float32 value at a path below the root, with the product in it."""
        whole = self._whole(path)
        value = self._frozen[whole]
        if whole not in self.targets:
            return value
        return value + tf.matmul(self.variables[f"{whole}/lora_a"], self._up(whole))

    def dense(self, path: str, x: Tensor, dropout: Dropout | None = None) -> Tensor:
        """Apply the dense layer at a path. In training, the kernel itself needs no gradient."""
        whole = self._whole(f"{path}/kernel")
        if dropout is None or whole not in self.targets:
            return super().dense(path, x, dropout)
        a, up, kernel = self.variables[f"{whole}/lora_a"], self._up(whole), self._frozen[whole]
        read = dropout.fold(zlib.crc32(whole.encode()) >> 1).apply(x, self.options.dropout) if self.drops else x
        low = tf.matmul(read, tf.cast(a, self.dtype))
        return _arithmetic.affine(x, tf.cast(kernel, self.dtype), self.bias(path)) + tf.matmul(
            low, tf.cast(up, self.dtype)
        )

    def update(self, values: Mapping[str, np.ndarray]) -> None:
        """Set the frozen weights at these whole paths, and B to zeros, so that `exact` returns these values."""
        for path, value in values.items():
            self._frozen[path].assign(value)
            if path in self.targets:
                b = self.variables[f"{path}/lora_b"]
                b.assign(tf.zeros_like(b))

    def matrices(self, path: str) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Return A [in, rank] and B [rank, out] by the place of each target in the kernel at a whole path."""
        places = self.targets[path]
        a = np.split(self.variables[f"{path}/lora_a"].numpy(), len(places), axis=-1)
        return dict(zip(places, zip(a, self.variables[f"{path}/lora_b"].numpy(), strict=True), strict=True))

    def _up(self, path: str) -> Tensor:
        """Return the second factor of the product of a whole kernel, times the scale: each B in the columns of its
        module, zeros in those of others.
        """
        parts = self._names[path]
        rows = []
        for place, b in zip(self.targets[path], tf.unstack(self.variables[f"{path}/lora_b"]), strict=True):
            width = int(b.shape[1])
            rows.append(tf.pad(b, [[0, 0], [place * width, (parts - 1 - place) * width]]))
        return tf.concat(rows, axis=0) * (self.options.alpha / self.options.rank)


def _modules(weight: Weight) -> list[str]:
    """Return the names of the modules whose kernels a weight holds; none for tables, convolutions and poolers."""
    matrix = weight.path.endswith("/kernel") and len(weight.shape) == 2 and not _WHOLE.search(weight.path)
    return [name.removesuffix(".weight") for name in weight.names] if matrix else []


def _fixed(value: Any, path: str) -> Any:
    return tf.Variable(value, name=path, trainable=False)


def _products(weight: Weight, targets: int, rank: int, seed: int) -> dict[str, Any]:
    """Return A and B of a kernel, which start from random values and from zeros."""
    inputs, outputs = weight.shape
    a, b = f"{weight.path}/lora_a", f"{weight.path}/lora_b"
    shape = (targets, rank, outputs // len(weight.names))
    return {
        a: variable(a, (inputs, targets * rank), "normal", seed, (3 * inputs) ** -0.5),
        b: variable(b, shape, "zeros", seed, 0.0),
    }
