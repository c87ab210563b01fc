"""The floating-point operations that a cross-encoder needs, and the rate at which a chip could do them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

TRAINING = 3  # forward, and two products of the same size backward: by what went in, and by the weights

SIZES = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads")


@dataclass(frozen=True)
class Size:
    """An encoder's size."""

    layers: int
    hidden: int
    intermediate: int
    heads: int

    @classmethod
    def of(cls, config: dict[str, Any]) -> Size:
        """The size by a `config.json`."""
        return cls(*(config[name] for name in SIZES))


def useful_flops(size: Size, lengths: npt.NDArray[np.int64]) -> float:
    """Of the forward pass over sequences of `lengths` tokens, to one score each: a product and its sum count as two.

    A layer over n tokens: 2n (4D^2 + 2DF) for its dense layers, 4 n^2 D for attention. The last layer is needed at the
    first token alone, whose H heads look at the states themselves: 4nHD; one query, mapped to what it looks for, the
    value of what it sees, and output, 8D^2; feed-forward, 4DF. Then pooler, 2D^2, and classifier, 2D. Look-ups, norms,
    softmax, GELU, biases and padding do not count.
    """
    n, hidden, inner = lengths.astype(np.float64), size.hidden, size.intermediate
    layer = 2 * n * (4 * hidden**2 + 2 * hidden * inner) + 4 * n**2 * hidden
    last = 4 * n * size.heads * hidden + 8 * hidden**2 + 4 * hidden * inner
    head = 2 * hidden**2 + 2 * hidden
    return float(((size.layers - 1) * layer + last + head).sum())


def ceiling(flops: list[int], seconds: list[list[float]]) -> float:
    """Operations per second of several products together, each at the fastest of the contenders in `seconds`."""
    return sum(flops) / math.fsum(min(each) for each in zip(*seconds, strict=True))
