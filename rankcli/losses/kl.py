"""Distillation of the distribution over a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.config.types import PositiveFloat
from rankcli.losses._groups import log_softmax
from rankcli.losses.base import GroupLoss, masked, weights_of
from rankcli.shapes import Batch


@LOSSES.register("kl")
@dataclass(frozen=True, kw_only=True)
class KL(GroupLoss):
    """Distillation: divergence from the softmax of a teacher's scores.

    T^2 sum_i q_i (log q_i - log p_i), q = softmax(t / T) of a teacher's scores t, p = softmax(s / T).

    Source: Hinton, Vinyals and Dean (2015); over the documents of a query ColBERTv2 (Santhanam et al., NAACL 2022).
    Scores of 0 to 1, such as cosines, make all q_i about equal: multiply them by 20 or so where they are written. The
    `weight` of a document scales its term.
    """

    min_docs: ClassVar[int] = 2
    columns: ClassVar[tuple[str, ...]] = ("teacher",)
    temperature: PositiveFloat = option(1.0, "T; above 1 the lower places of the teacher count more")

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        wanted = log_softmax(batch, batch.columns["teacher"] / self.temperature)
        terms = masked(batch, tf.exp(wanted) * (wanted - log_softmax(batch, scores / self.temperature)))
        return self.temperature**2 * tf.reduce_sum(weights_of(batch) * terms, axis=1)
