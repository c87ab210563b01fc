"""A factor for each number of a vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rankcli.backend import tf
from rankcli.config.registry import HEADS
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.weights import Weight
from rankcli.heads.base import DenseLayer, Head, HeadOptions, Tensor, dropped

_GATE = 2.0  # tanh(2) is 0.964


@HEADS.register("gated")
@dataclass(frozen=True, kw_only=True)
class Gated(HeadOptions):
    """x * tanh(g), with a gate g for each number.

    Gates start at 2: the vector times 0.964. So a cosine starts as that without the head, a dot product as 0.929 times
    that.
    """

    def build(self, inputs: int) -> Head:
        """Return the head over vectors of `inputs` numbers."""
        return GatedHead(self.dropout, inputs)


class GatedHead(Head):
    """A gate for each number."""

    def __init__(self, rate: float, inputs: int) -> None:
        self._rate = rate
        super().__init__([Weight("gate", (inputs,), ("gate",), (_GATE,) * inputs)], inputs, inputs)

    def __call__(self, parameters: Parameters, vectors: Tensor, dropout: Dropout | None) -> Tensor:
        """Return the vectors through their gates."""
        return dropped(vectors, self._rate, dropout) * tf.tanh(parameters.exact("gate"))

    def layers(self, stored: Mapping[str, np.ndarray]) -> list[DenseLayer]:
        """Return one dense layer, of zeros beside its diagonal."""
        return [DenseLayer(np.diag(np.tanh(stored["gate"])), None, "none")]
