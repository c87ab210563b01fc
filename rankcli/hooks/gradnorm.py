"""Log the norms of gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rankcli.config.registry import HOOKS
from rankcli.hooks.base import Gradients, Hook, HookContext, HookOptions


class _Norms(Hook):
    def __init__(self, groups: Sequence[str]) -> None:
        self.notes = [f"gradnorm/{group}" for group in (*groups, "all")]

    def gradients(self, gradients: Gradients) -> Gradients:
        parts = [*gradients.groups.values(), gradients.values]
        return gradients.noting({name: gradients.norm(paths) for name, paths in zip(self.notes, parts, strict=True)})


@HOOKS.register("gradnorm")
@dataclass(frozen=True, kw_only=True)
class GradNorm(HookOptions):
    """Logs the Euclidean norm of each optimizer group's gradient and of all together: `gradnorm/GROUP`, `gradnorm/all`.

    Its place in the list of hooks decides: before `clipnorm` the norms are those of the computed gradients, after it
    those of the clipped ones. A group that is not trained yet counts as 0.
    """

    def build(self, ctx: HookContext) -> _Norms:
        """Build the hook for the groups of `ctx`."""
        return _Norms(tuple(ctx.groups))
