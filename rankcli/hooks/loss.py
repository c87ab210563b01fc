"""A further loss on the scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.config.registry import HOOKS, LOSSES, component, option
from rankcli.config.types import PositiveFloat
from rankcli.hooks.base import HookContext, ScoreLoss


@HOOKS.register("loss")
@dataclass(frozen=True, kw_only=True)
class ExtraLoss:
    """weight x a further loss on the same scores: the weighted sum of several losses is minimised."""

    version: ClassVar[int] = 1
    loss: Any = component(LOSSES, None, "any loss that `trainer.loss` may be")
    weight: PositiveFloat = option(1.0, "factor on its mean over the groups")

    def __post_init__(self) -> None:
        if self.loss is None:
            raise ValueError("loss is needed")

    def build(self, ctx: HookContext) -> ScoreLoss:
        """The loss under its registered name."""
        return ScoreLoss(LOSSES.name_of(self.loss), self.weight, self.loss.build(ctx.output_type))
