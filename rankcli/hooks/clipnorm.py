"""Gradient clipping by the global norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import HOOKS, option
from rankcli.config.types import PositiveFloat
from rankcli.hooks.base import Gradients, HookContext, PartOptions


@dataclass(frozen=True)
class _Clip:
    norm: float
    paths: tuple[str, ...]
    measures: ClassVar[tuple[str, ...]] = ("clipnorm/clipped",)

    def __call__(self, gradients: Gradients) -> tuple[Gradients, list[Any]]:
        found = gradients.norm(self.paths)
        factor = self.norm / tf.maximum(found, self.norm)
        return gradients.scaled(factor, self.paths), [tf.cast(found > self.norm, tf.float32)]


@HOOKS.register("clipnorm")
@dataclass(frozen=True, kw_only=True)
class ClipNorm(PartOptions):
    """All gradients times min(1, norm / |g|), |g| their norm over all groups together (Pascanu et al., 2013).

    Optimizer groups that are not trained yet are left out of |g|. `clipnorm/clipped` is the share of steps that were
    clipped.
    """

    version: ClassVar[int] = 1
    norm: PositiveFloat = option(1.0, "the largest norm that gradients keep")

    def build(self, ctx: HookContext) -> _Clip:
        """The hook over the variables of `ctx`."""
        return _Clip(self.norm, ctx.paths(self.part))
