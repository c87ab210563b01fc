"""Gradient clipping by the global norm."""

from __future__ import annotations

from dataclasses import dataclass

from rankcli.backend import tf
from rankcli.config.registry import HOOKS, option
from rankcli.config.types import PositiveFloat
from rankcli.hooks.base import Gradients, Hook, HookContext, PartOptions


class _Clip(Hook):
    notes = ("clipnorm/clipped",)

    def __init__(self, norm: float, paths: tuple[str, ...]) -> None:
        self._norm, self._paths = norm, paths

    def gradients(self, gradients: Gradients) -> Gradients:
        norm = gradients.norm(self._paths)
        factor = self._norm / tf.maximum(norm, self._norm)
        clipped = tf.cast(norm > self._norm, tf.float32)
        return gradients.scaled(factor, self._paths).noting({"clipnorm/clipped": clipped})


@HOOKS.register("clipnorm")
@dataclass(frozen=True, kw_only=True)
class ClipNorm(PartOptions):
    """All gradients times min(1, norm / |g|), where |g| is their norm over all groups together (Pascanu et al., 2013).

    Optimizer groups that are not trained yet do not count in |g|. `clipnorm/clipped` is the share of steps that were
    clipped.
    """

    norm: PositiveFloat = option(1.0, "the largest norm that gradients keep")

    def build(self, ctx: HookContext) -> _Clip:
        """Build the hook for the variables of `ctx`."""
        return _Clip(self.norm, ctx.paths(self.part))
