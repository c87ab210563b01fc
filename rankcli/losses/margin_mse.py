"""Distillation of differences of scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.losses._groups import above, differences, mean_over_pairs, relevant_above
from rankcli.losses.base import GroupLoss, masked
from rankcli.shapes import Batch


@LOSSES.register("margin_mse")
@dataclass(frozen=True, kw_only=True)
class MarginMSE(GroupLoss):
    """Distillation: squared error of differences of scores against a teacher's.

    Mean over the pairs of a relevant i and another j of ((s_i - s_j) - (t_i - t_j))^2, with a teacher's scores t.

    Source: Hofstätter et al. (2020). The student takes over the teacher's scale, so with the logits of a cross-encoder
    the loss is large at first: clip the norm of the gradient. A pair's term is multiplied by the `weight` of its
    document i; the mean divides by the number of pairs.
    """

    min_docs: ClassVar[int] = 2
    columns: ClassVar[tuple[str, ...]] = ("teacher",)
    pairs: Literal["label", "teacher"] = option("label", "relevant against other documents, or all with t_i > t_j")

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        teacher = masked(batch, batch.columns["teacher"])
        pairs = relevant_above(batch) if self.pairs == "label" else above(batch, teacher)
        return mean_over_pairs(batch, pairs, tf.square(differences(scores - teacher)))
