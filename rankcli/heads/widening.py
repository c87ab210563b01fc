"""Two dense layers, of which the first is wider than the vectors."""

from __future__ import annotations

from dataclasses import dataclass

from rankcli.config.registry import HEADS, option
from rankcli.config.types import PositiveInt
from rankcli.heads.base import Activation, Chain, HeadOptions


@HEADS.register("widening")
@dataclass(frozen=True, kw_only=True)
class Widening(HeadOptions):
    """A dense layer to `factor` times as many numbers, an activation, and a dense layer back.

    It starts from random weights, not as the identity.
    """

    factor: PositiveInt = option(4, "how many times wider the inner layer is")
    activation: Activation = option("relu", "the function after the inner layer")

    def build(self, inputs: int) -> Chain:
        """Return the head over vectors of `inputs` numbers."""
        return Chain(inputs, [self.factor * inputs, inputs], [self.activation, "none"], self.dropout)
