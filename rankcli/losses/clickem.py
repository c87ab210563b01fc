"""Clicks explained by position and relevance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses.base import GroupLoss, masked, mean_over_documents
from rankcli.shapes import Batch


@LOSSES.register("clickem")
@dataclass(frozen=True, kw_only=True)
class ClickEM(GroupLoss):
    """Position-based model of clicks, by expectation maximisation: cross-entropy with the chance of relevance.

    Mean of -(p_i log g_i + (1 - p_i) log(1 - g_i)), g_i = sigmoid(s_i) and p_i = 1 for a click (label above 0), else
    (1 - t_i) g_i / (1 - t_i g_i), a constant, with the chance t_i that the document was seen (`seen`).

    Its gradient is that of the likelihood of the clicks, which have the chance t_i g_i (Wang et al., WSDM 2018, with
    soft targets). The t_i come from the sampler `clicks`, given or estimated. A document's term is multiplied by its
    `weight`; the mean divides by the number of documents.
    """

    columns: ClassVar[tuple[str, ...]] = ("seen",)

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        seen = masked(batch, batch.columns["seen"])
        relevant = tf.sigmoid(scores)
        unclicked = tf.math.divide_no_nan((1.0 - seen) * relevant, 1.0 - seen * relevant)
        wanted = tf.stop_gradient(tf.where(batch.labels > 0, tf.ones_like(scores), unclicked))
        return mean_over_documents(batch, tf.nn.sigmoid_cross_entropy_with_logits(wanted, scores))
