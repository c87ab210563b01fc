"""A chain of dense layers."""

from __future__ import annotations

from dataclasses import dataclass

from rankcli.config.registry import HEADS, option
from rankcli.config.types import PositiveInt
from rankcli.heads.base import Activation, Chain, HeadOptions


@HEADS.register("mlp", aliases=("projection",))
@dataclass(frozen=True, kw_only=True)
class Mlp(HeadOptions):
    """Dense layers with an activation between them.

    It starts from random weights, not as the identity: what a pretrained encoder says is lost until the head has
    learned.
    """

    sizes: tuple[PositiveInt, ...] = option(help="sizes of the layers; the last one is that of the vectors")
    activation: Activation = option("relu", "the function after each layer but the last")
    last: Activation = option("none", "the function after the last layer")

    def __post_init__(self) -> None:
        if not self.sizes:
            raise ValueError("sizes: at least one layer is needed")

    def build(self, inputs: int) -> Chain:
        """Return the head over vectors of `inputs` numbers."""
        activations = [self.activation] * (len(self.sizes) - 1) + [self.last]
        return Chain(inputs, self.sizes, activations, self.dropout)
