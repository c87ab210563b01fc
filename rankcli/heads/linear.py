"""One dense layer."""

from __future__ import annotations

from dataclasses import dataclass

from rankcli.config.registry import HEADS, option
from rankcli.config.types import PositiveInt
from rankcli.heads.base import Chain, HeadOptions


@HEADS.register("linear")
@dataclass(frozen=True, kw_only=True)
class Linear(HeadOptions):
    """W x + b, which starts as the identity.

    With a smaller `size` it starts as the first `size` numbers, with a larger one as x and zeros.
    """

    size: PositiveInt | None = option(None, "numbers of its vectors; default: as many as it reads")

    def build(self, inputs: int) -> Chain:
        """Return the head over vectors of `inputs` numbers."""
        return Chain(inputs, [self.size or inputs], ["none"], self.dropout, as_identity=True)
