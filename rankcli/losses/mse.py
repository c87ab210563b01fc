"""Mean squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses.base import GroupLoss, mean_over_documents
from rankcli.shapes import Batch


@LOSSES.register("mse")
@dataclass(frozen=True, kw_only=True)
class MSE(GroupLoss):
    """Squared error of each score against the grade: regression.

    (s - label)^2 of each document's score, mean over the group: regression on the grades.

    Source: Cossock and Zhang (COLT 2006). A document's term is multiplied by its `weight`; the mean divides by the
    number of documents.
    """

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        return mean_over_documents(batch, tf.math.squared_difference(scores, batch.labels))
