"""Weights of losses that change during training."""

from __future__ import annotations

from dataclasses import dataclass

from rankcli.config.registry import option
from rankcli.config.types import NonNegativeFloat, PositiveFloat


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """A weight that changes linearly from one value to another and then stays there."""

    start: NonNegativeFloat = option(help="the weight in the first step")
    end: NonNegativeFloat = option(help="the weight after `iterations`")
    iterations: PositiveFloat = option(help="how long it changes")

    def __post_init__(self) -> None:
        if self.start == self.end:
            raise ValueError("start and end are equal: say the weight as a number")


def weight_at(weight: float | Ramp, iterations: float) -> float:
    """Return the weight after a number of iterations, which may be a fraction."""
    if not isinstance(weight, Ramp):
        return weight
    share = min(iterations / weight.iterations, 1.0)
    return (1.0 - share) * weight.start + share * weight.end


def unreached(weight: float | Ramp, niters: int) -> str:
    """Explain why a ramp does not end within `niters` iterations; empty if it does."""
    if not isinstance(weight, Ramp) or weight.iterations <= niters:
        return ""
    return f"changes for {weight.iterations:g} iterations, but there are {niters}: it would never be {weight.end:g}"
