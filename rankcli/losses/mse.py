"""Mean squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses.base import Loss, mean_over_documents
from rankcli.shapes import Batch, OutputType


@LOSSES.register("mse")
@dataclass(frozen=True, kw_only=True)
class MSE:
    """(s - label)^2 of each document's score (a logit as it is, or a probability), mean over the group: regression on
    the grades (Cossock and Zhang, COLT 2006).
    """

    version: ClassVar[int] = 1
    min_docs: ClassVar[int] = 1
    output_types: ClassVar[tuple[OutputType, ...]] = ("logits", "probability")

    def build(self, output_type: OutputType = "logits") -> Loss:
        """The loss function."""

        def loss(batch: Batch, scores: Any) -> Any:
            return mean_over_documents(batch, tf.math.squared_difference(scores, batch.labels))

        return loss
