"""ListNet: two softmaxes compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses._groups import log_softmax, softmax_entropy
from rankcli.losses.base import GroupLoss, masked
from rankcli.shapes import Batch


@LOSSES.register("listnet")
@dataclass(frozen=True, kw_only=True)
class ListNet(GroupLoss):
    """Cross-entropy between the softmax of the labels and that of the scores.

    -sum_i softmax(labels)_i log softmax(s)_i, the top-one form.

    Source: Cao et al. (ICML 2007). A grade more is e times the target, and a group without relevant documents teaches
    equal scores. The `weight` of a document scales its term.
    """

    min_docs: ClassVar[int] = 2

    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group."""
        return softmax_entropy(batch, masked(batch, tf.exp(log_softmax(batch, batch.labels))), scores)
