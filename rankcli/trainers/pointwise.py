"""The trainer on single documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.config.registry import LOSSES, TRAINERS, component
from rankcli.trainers.tensorflow import TensorflowTrainer


@TRAINERS.register("pointwise")
@dataclass(frozen=True, kw_only=True)
class PointwiseTrainer(TensorflowTrainer):
    """The `tensorflow` trainer on single documents.

    A group is a query with one document, as the sampler `pair` draws it. The loss must not compare documents.
    """

    group_size: ClassVar[int | None] = 1
    loss: Any = component(LOSSES, "bce", "what is minimised: `bce`, `mse` or `crossentropy`")
