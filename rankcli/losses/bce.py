"""Binary cross-entropy with the label itself as the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses.base import GroupLoss, mean_over_documents
from rankcli.shapes import Batch


@LOSSES.register("bce")
@dataclass(frozen=True, kw_only=True)
class BCE(GroupLoss):
    """Binary cross-entropy of each document, with its label as the probability.

    -(t log p + (1 - t) log(1 - p)) of each document's probability p = sigmoid(score), mean over the group.

    The target t is the label, clipped to 0..1 (RankT5's PointCE: Zhuang et al., SIGIR 2023). A grade between them is a
    soft target, while `crossentropy` takes 1 for any label above 0. A document's term is multiplied by its `weight`;
    the mean divides by the number of documents.
    """

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        target = tf.clip_by_value(batch.labels, 0.0, 1.0)
        yes, no = tf.math.log_sigmoid(scores), tf.math.log_sigmoid(-scores)
        return mean_over_documents(batch, -(target * yes + (1.0 - target) * no))
