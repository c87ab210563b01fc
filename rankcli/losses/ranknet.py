"""RankNet, on labels and on the order of a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.losses._groups import above, differences, mean_over_pairs, over_pairs
from rankcli.losses.base import GroupLoss, masked
from rankcli.shapes import Batch


@LOSSES.register("ranknet")
@dataclass(frozen=True, kw_only=True)
class RankNet(GroupLoss):
    """Logistic loss of pairs.

    Mean, or sum, over the pairs with label_i > label_j of log(1 + exp(-(s_i - s_j))).

    Source: Burges et al. (ICML 2005). A pair's term is multiplied by the `weight` of its more relevant document; the
    mean divides by the number of pairs. sentence-transformers' `RankNetLoss` divides it by ln 2 and by the pairs of the
    whole batch, so that queries with many pairs count more.
    """

    min_docs: ClassVar[int] = 2
    reduction: Literal["mean", "sum"] = option("mean", "how the pairs of a group are put together")

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        reduce = {"mean": mean_over_pairs, "sum": over_pairs}[self.reduction]
        return reduce(batch, above(batch, batch.labels), tf.nn.softplus(-differences(scores)))


@LOSSES.register("ranknet_distil")
@dataclass(frozen=True, kw_only=True)
class RankNetDistil(GroupLoss):
    """Distillation: logistic loss of pairs in a teacher's order.

    Mean over the pairs with t_i > t_j of log(1 + exp(-(s_i - s_j))), with the teacher's scores t (`teacher`).

    Only the teacher's order counts, so it may be one that gives ranks alone (Sun et al., "Is ChatGPT Good at Search?",
    EMNLP 2023). A pair's term is multiplied by the `weight` of its better document; the mean divides by the
    number of pairs.
    """

    min_docs: ClassVar[int] = 2
    columns: ClassVar[tuple[str, ...]] = ("teacher",)

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        teacher = masked(batch, batch.columns["teacher"])
        return mean_over_pairs(batch, above(batch, teacher), tf.nn.softplus(-differences(scores)))
