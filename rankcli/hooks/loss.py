"""An additional loss on the outputs of the reranker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rankcli.config.registry import HOOKS, LOSSES, component, option
from rankcli.config.types import PositiveFloat
from rankcli.hooks.base import Hook, HookContext, HookOptions
from rankcli.schedules.ramp import Ramp
from rankcli.shapes import Batch, Outputs, StepContext


class _Loss(Hook):
    def __init__(self, options: ExtraLoss) -> None:
        self.name, self.weight = LOSSES.name_of(options.loss), options.weight
        self._loss = options.loss.build()

    def loss(self, batch: Batch, outputs: Outputs, step: StepContext) -> Any:
        return self._loss(batch, outputs, step)


@HOOKS.register("loss")
@dataclass(frozen=True, kw_only=True)
class ExtraLoss(HookOptions):
    """Adds weight x another loss of the same outputs to the objective."""

    loss: Any = component(LOSSES, None, "any loss that `trainer.loss` may be")
    weight: PositiveFloat | Ramp = option(1.0, "factor on its mean over the groups, or {start, end, iterations}")

    def __post_init__(self) -> None:
        if self.loss is None:
            raise ValueError("loss is needed")

    @property
    def losses(self) -> Mapping[str, Any]:
        """The additional loss."""
        return {"loss": self.loss}

    def build(self, ctx: HookContext) -> Hook:
        """Build the hook. It logs the loss under its registered name."""
        return _Loss(self)
