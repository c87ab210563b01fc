"""Mean squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses.base import Loss, LossOptions, mean_over_documents
from rankcli.shapes import Batch, Outputs, StepContext


@LOSSES.register("mse")
@dataclass(frozen=True, kw_only=True)
class MSE(LossOptions):
    """(s - label)^2 of each document's score, mean over the group: regression on the grades.

    Source: Cossock and Zhang (COLT 2006). A document's term is multiplied by its `weight`; the mean divides by the
    number of documents.
    """

    def build(self) -> Loss:
        """Return the loss function."""

        def loss(batch: Batch, outputs: Outputs, step: StepContext) -> Any:
            return mean_over_documents(batch, tf.math.squared_difference(outputs.scores, batch.labels))

        return loss
