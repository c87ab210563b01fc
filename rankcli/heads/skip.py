"""Dense layers that are added to what they read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rankcli.backend import tf
from rankcli.config.registry import HEADS, option
from rankcli.config.types import PositiveInt, Rate
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.weights import Weight, dense
from rankcli.heads.base import DenseLayer, Head, HeadOptions, Tensor, dropped

_GATE = -4.0  # sigmoid(-4) is 0.018


@HEADS.register("skip")
@dataclass(frozen=True, kw_only=True)
class Skip(HeadOptions):
    """x + sigmoid(g) * (W x + b), with a gate g for each number, which starts as the identity.

    Gates start at -4, W and b at 0: what the encoder says is changed little by little.
    """

    layers: PositiveInt = option(1, "how many of these follow one another")
    skip_dropout: Rate = option(0.0, "dropout rate of what W reads; what is added to it is not changed")

    def build(self, inputs: int) -> Head:
        """Return the head over vectors of `inputs` numbers."""
        return SkipHead(self, inputs)


class SkipHead(Head):
    """Gated sums."""

    def __init__(self, options: Skip, inputs: int) -> None:
        self._options = options
        weights = [weight for n in range(options.layers) for weight in _weights(n, inputs)]
        super().__init__(weights, inputs, inputs)

    def __call__(self, parameters: Parameters, vectors: Tensor, dropout: Dropout | None) -> Tensor:
        """Return the sums after all layers."""
        vectors = dropped(vectors, self._options.dropout, dropout)
        for n in range(self._options.layers):
            read = dropped(vectors, self._options.skip_dropout, dropout, n + 1)
            change = tf.matmul(read, parameters.exact(f"{n}/kernel")) + parameters.exact(f"{n}/bias")
            vectors += tf.sigmoid(parameters.exact(f"{n}/gate")) * change
        return vectors

    def layers(self, stored: Mapping[str, np.ndarray]) -> list[DenseLayer]:
        """Return a dense layer for each sum, which is linear."""
        return [_merged(*(stored[f"{n}.{part}"] for part in ("weight", "bias", "gate"))) for n in self._numbers]

    @property
    def _numbers(self) -> range:
        return range(self._options.layers)


def _weights(n: int, size: int) -> list[Weight]:
    kernel, bias = dense(str(n), (str(n),), size, size)
    gate = Weight(f"{n}/gate", (size,), (f"{n}.gate",), (_GATE,) * size)
    return [dataclasses.replace(kernel, init="zeros"), bias, gate]


def _merged(weight: np.ndarray, bias: np.ndarray, gate: np.ndarray) -> DenseLayer:
    share = 1.0 / (1.0 + np.exp(-gate))
    return DenseLayer(np.eye(len(weight), dtype=np.float32) + share[:, None] * weight, share * bias, "none")
