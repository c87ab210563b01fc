"""The norms of gradients, logged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.config.registry import HOOKS
from rankcli.hooks.base import Gradients, HookContext


@dataclass(frozen=True)
class _Norms:
    groups: tuple[str, ...]

    @property
    def measures(self) -> tuple[str, ...]:
        return (*(f"gradnorm/{group}" for group in self.groups), "gradnorm/all")

    def __call__(self, gradients: Gradients) -> tuple[Gradients, list[Any]]:
        norms = [gradients.norm(gradients.groups[group]) for group in self.groups]
        return gradients, [*norms, gradients.norm(gradients.values)]


@HOOKS.register("gradnorm")
@dataclass(frozen=True, kw_only=True)
class GradNorm:
    """Logs the Euclidean norm of each optimizer group's gradient and of all together: `gradnorm/GROUP`, `gradnorm/all`.

    They are what this place in the list of hooks sees: before `clipnorm` as computed, after it as clipped. A group that
    is not trained yet counts as 0.
    """

    version: ClassVar[int] = 1

    def build(self, ctx: HookContext) -> _Norms:
        """The hook over the groups of `ctx`."""
        return _Norms(tuple(ctx.groups))
