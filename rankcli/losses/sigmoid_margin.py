"""A bounded loss of pairs, for labels that are often wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.config.types import PositiveFloat
from rankcli.losses._groups import above, differences, mean_over_pairs
from rankcli.losses.base import GroupLoss
from rankcli.shapes import Batch


@LOSSES.register("sigmoid_margin")
@dataclass(frozen=True, kw_only=True)
class SigmoidMargin(GroupLoss):
    """Chance that a pair is in the wrong order; at most 1, however wrong.

    Mean over the pairs with label_i > label_j of sigmoid((m - (s_i - s_j)) / T).

    Source: Embedding Studio 0.0.1 (2023). A wrong click costs at most 1, in other losses of pairs any amount.
    For cosines m is about 0.05 and T 0.02 to 1; the scores of a bi-encoder are cosines times its `scale`. A pair's term
    is multiplied by the `weight` of its more relevant document; the mean divides by the number of pairs.
    """

    min_docs: ClassVar[int] = 2
    margin: float = option(1.0, "m, the difference of scores that is wanted")
    temperature: PositiveFloat = option(1.0, "T; the lower, the sharper")

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        costs = tf.sigmoid((self.margin - differences(scores)) / self.temperature)
        return mean_over_pairs(batch, above(batch, batch.labels), costs)
