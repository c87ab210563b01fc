"""Pairwise hinge loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.config.types import PositiveFloat
from rankcli.losses._groups import above, differences, mean_over_pairs
from rankcli.losses.base import GroupLoss
from rankcli.shapes import Batch


@LOSSES.register("pairwise_hinge", aliases=("pairwise_hinge_loss",))
@dataclass(frozen=True, kw_only=True)
class PairwiseHinge(GroupLoss):
    """Hinge loss of pairs.

    Mean over the pairs with label_i > label_j of max(0, margin - (s_i - s_j)) (Herbrich et al., 2000).

    A pair's term is multiplied by the `weight` of its more relevant document; the mean divides by the number of pairs.
    """

    min_docs: ClassVar[int] = 2
    margin: PositiveFloat = option(1.0, "the lead over a less relevant document at which a pair costs nothing")

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        return mean_over_pairs(batch, above(batch, batch.labels), tf.nn.relu(self.margin - differences(scores)))
