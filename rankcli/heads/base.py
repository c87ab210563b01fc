"""The contract of heads, and heads that are chains of dense layers."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np

from rankcli.backend import tf
from rankcli.config.registry import option
from rankcli.config.types import Rate
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.heads import ACTIVATIONS_OF_HEADS
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.weights import Arrays, Weight, dense

Tensor: TypeAlias = Any
Activation: TypeAlias = Literal["none", "relu", "gelu", "silu", "tanh"]


class DenseLayer(NamedTuple):
    """A dense layer as other tools store it: `weight` [out, in], `bias` [out] and what comes after."""

    weight: np.ndarray
    bias: np.ndarray | None
    activation: Activation


@dataclass(frozen=True, kw_only=True)
class HeadOptions(ABC):
    """Base of the options of heads. `version` is raised when equal options give other vectors."""

    version: ClassVar[int] = 1
    dropout: Rate = option(0.0, "dropout rate of the vectors that it reads")

    @abstractmethod
    def build(self, inputs: int) -> Head:
        """Return the head over vectors of `inputs` numbers."""


class Head(ABC):
    """A function of vectors, float32 [N, `inputs`] to [N, `outputs`], with `weights`, whose stored names are their
    paths with dots.
    """

    def __init__(self, weights: Sequence[Weight], inputs: int, outputs: int) -> None:
        self.weights, self.inputs, self.outputs = list(weights), inputs, outputs

    @abstractmethod
    def __call__(self, parameters: Parameters, vectors: Tensor, dropout: Dropout | None) -> Tensor:
        """Return the vectors that are compared. `dropout` is given in training only."""

    @abstractmethod
    def layers(self, stored: Mapping[str, np.ndarray]) -> list[DenseLayer]:
        """Return dense layers that compute the same, from the weights by stored name."""


class Chain(Head):
    """Dense layers of these sizes, an activation after each but the last, and perhaps another after the last."""

    def __init__(
        self,
        inputs: int,
        sizes: Sequence[int],
        activations: Sequence[Activation],
        rate: float,
        as_identity: bool = False,
    ) -> None:
        widths = [inputs, *sizes]
        made = [_layer(n, *pair, as_identity) for n, pair in enumerate(zip(widths, sizes, strict=False))]
        super().__init__([weight for layer in made for weight in layer], inputs, sizes[-1])
        self._activations, self._rate = activations, rate

    def __call__(self, parameters: Parameters, vectors: Tensor, dropout: Dropout | None) -> Tensor:
        """Return the vectors after all layers."""
        vectors = dropped(vectors, self._rate, dropout)
        for n, activation in enumerate(self._activations):
            vectors = tf.matmul(vectors, parameters.exact(f"{n}/kernel")) + parameters.exact(f"{n}/bias")
            vectors = ACTIVATIONS_OF_HEADS["" if activation == "none" else activation](vectors)
        return vectors

    def layers(self, stored: Arrays | Mapping[str, np.ndarray]) -> list[DenseLayer]:
        """Return the layers."""
        return [DenseLayer(stored[f"{n}.weight"], stored[f"{n}.bias"], a) for n, a in enumerate(self._activations)]


def dropped(vectors: Tensor, rate: float, dropout: Dropout | None, key: int = 0) -> Tensor:
    """Apply dropout in training."""
    return vectors if dropout is None or not rate else dropout.fold(key).apply(vectors, rate)


def _layer(n: int, inputs: int, outputs: int, as_identity: bool) -> list[Weight]:
    """Return the weights of a dense layer; random ones keep the size of what they read."""
    kernel, bias = dense(str(n), (str(n),), inputs, outputs)
    start: Mapping[str, Any] = {"init": "identity"} if as_identity else {"scale": inputs**-0.5}
    return [dataclasses.replace(kernel, **start), bias]
