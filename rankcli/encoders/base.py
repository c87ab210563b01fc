"""The contract of encoders of all families: laid-out tokens to vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from rankcli.backend import tf
from rankcli.encoders import layouts
from rankcli.encoders.config import EncoderConfig
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.parameters import Parameters
from rankcli.shapes import Layout

Pooling: TypeAlias = Literal["cls", "mean", "pooler"]
Tensor: TypeAlias = Any


class Encoder(ABC):
    """Token states and pooled vectors of laid-out sequences, computed with `parameters` in their dtype.

    Softmax and normalisations are computed in float32 for any dtype. `dropout` is given in training only.
    """

    def __init__(self, config: EncoderConfig, parameters: Parameters) -> None:
        self.config = config
        self.parameters = parameters

    @abstractmethod
    def states(self, layout: Layout, dropout: Dropout | None = None, layers: Sequence[int] = (-1,)) -> list[Tensor]:
        """Return the states of all tokens, [T, D] each, after the numbered layers: 0 for the embeddings, -1 for the
        last.
        """

    def noise(self, part: str, dropout: Dropout | None) -> Dropout | None:
        """Return `dropout`; None for a part that is never trained: what is frozen has no dropout."""
        return None if self.parameters.is_frozen(part) else dropout

    def first(self, layout: Layout, dropout: Dropout | None = None) -> Tensor:
        """Return the last state of each sequence's first token, [N, D]."""
        return layouts.first_tokens(self.states(layout, dropout)[0], layout)

    def tokens(self, layout: Layout, dropout: Dropout | None = None) -> tuple[Tensor, Tensor]:
        """Return the last states by sequence, [N, M, D], and a mask of the tokens, bool [N, M]."""
        return layouts.by_sequence(self.states(layout, dropout)[0], layout), layouts.token_mask(layout)

    def pooled(self, layout: Layout, pooling: Pooling, dropout: Dropout | None = None) -> Tensor:
        """Return float32 [N, D]: the first token's state, that state through the pooler, or the mean of the tokens'
        states.
        """
        if pooling == "mean":
            return layouts.token_means(self.states(layout, dropout)[0], layout)
        first = self.first(layout, dropout)
        return tf.cast(self.pooler(first) if pooling == "pooler" else first, tf.float32)

    def pooler(self, first: Tensor) -> Tensor:
        """Apply the family's pooler to the states of first tokens [N, D]."""
        raise NotImplementedError(f"{type(self).__name__} has no pooler")
