"""The schedules after warm-up. With w warm-up steps and N steps in all, s is the global step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import SCHEDULES, option
from rankcli.config.types import PositiveFloat, PositiveInt, Rate
from rankcli.schedules.base import Schedule, ScheduleContext, warmed_up


@SCHEDULES.register("constant")
@dataclass(frozen=True, kw_only=True)
class Constant:
    """1 after warm-up."""

    version: ClassVar[int] = 1

    def build(self, ctx: ScheduleContext) -> Schedule:
        """Return the factor as a function of the step."""
        return warmed_up(ctx, lambda s: 1.0)


@SCHEDULES.register("linear")
@dataclass(frozen=True, kw_only=True)
class Linear:
    """floor + (1 - floor) (N - s) / (N - w)."""

    version: ClassVar[int] = 1
    floor: Rate = option(0.0, "the factor approached at the last step")

    def build(self, ctx: ScheduleContext) -> Schedule:
        """Return the factor as a function of the step."""
        left = max(ctx.steps - ctx.warmup, 1)
        return warmed_up(ctx, lambda s: self.floor + (1 - self.floor) * (ctx.steps - s) / left)


@SCHEDULES.register("cosine")
@dataclass(frozen=True, kw_only=True)
class Cosine:
    """floor + (1 - floor) (1 + cos(pi (s - w) / (N - w))) / 2 (Loshchilov and Hutter, 2017)."""

    version: ClassVar[int] = 1
    floor: Rate = option(0.0, "the factor approached at the last step")

    def build(self, ctx: ScheduleContext) -> Schedule:
        """Return the factor as a function of the step."""
        left = max(ctx.steps - ctx.warmup, 1)
        return warmed_up(
            ctx, lambda s: self.floor + (1 - self.floor) * (1 + math.cos(math.pi * (s - ctx.warmup) / left)) / 2
        )


@SCHEDULES.register("exponential")
@dataclass(frozen=True, kw_only=True)
class Exponential:
    """decay ^ ((s - w) / (decayiters x steps per iteration))."""

    version: ClassVar[int] = 1
    decay: Rate = option(help="the factor lost every `decayiters` iterations, above 0 and below 1")
    decayiters: PositiveInt = option(3, "iterations in which the factor falls by `decay`")

    def __post_init__(self) -> None:
        if self.decay == 0:
            raise ValueError("decay must be above 0: an exponential decay of 0 trains with a learning rate of 0")

    def build(self, ctx: ScheduleContext) -> Schedule:
        """Return the factor as a function of the step."""
        period = self.decayiters * ctx.steps_per_iter
        return warmed_up(ctx, lambda s: self.decay ** ((s - ctx.warmup) / period))


@SCHEDULES.register("inverse_time")
@dataclass(frozen=True, kw_only=True)
class InverseTime:
    """1 / (1 + decay (s - w) / steps per iteration). Capreolus calls it linear."""

    version: ClassVar[int] = 1
    decay: PositiveFloat = option(help="how fast it falls, per iteration")

    def build(self, ctx: ScheduleContext) -> Schedule:
        """Return the factor as a function of the step."""
        return warmed_up(ctx, lambda s: 1 / (1 + self.decay * (s - ctx.warmup) / ctx.steps_per_iter))


@SCHEDULES.register("step")
@dataclass(frozen=True, kw_only=True)
class Step:
    """gamma ^ floor((s - w) / step_size)."""

    version: ClassVar[int] = 1
    gamma: Rate = option(0.1, "the factor at each drop, above 0 and below 1")
    step_size: PositiveInt = option(help="steps between drops")

    def __post_init__(self) -> None:
        if self.gamma == 0:
            raise ValueError("gamma must be above 0: the learning rate would be 0 after the first drop")

    def build(self, ctx: ScheduleContext) -> Schedule:
        """Return the factor as a function of the step."""
        return warmed_up(ctx, lambda s: self.gamma ** ((s - ctx.warmup) // self.step_size))
