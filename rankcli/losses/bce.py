"""Binary cross-entropy with the label itself as the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses.base import Loss, mean_over_documents
from rankcli.shapes import Batch, OutputType

TINY = 1e-7  # probabilities are kept this far from 0 and 1


@LOSSES.register("bce")
@dataclass(frozen=True, kw_only=True)
class BCE:
    """-(t log p + (1 - t) log(1 - p)) of each document's probability p, mean over the group.

    The target t is the label, cut to 0..1: a grade between them is a soft target, where `crossentropy` takes 1 for any
    label above 0. p is sigmoid(s) of a logit s; scores that are probabilities, or their logarithms, are taken as such.
    """

    version: ClassVar[int] = 1
    min_docs: ClassVar[int] = 1
    output_types: ClassVar[tuple[OutputType, ...]] = ("logits", "probability", "log_probability")

    def build(self, output_type: OutputType = "logits") -> Loss:
        """The loss function for scores of that type."""
        logs = {"logits": _of_logits, "probability": _of_probabilities, "log_probability": _of_logarithms}[output_type]

        def loss(batch: Batch, scores: Any) -> Any:
            target = tf.clip_by_value(batch.labels, 0.0, 1.0)
            yes, no = logs(scores)
            return mean_over_documents(batch, -(target * yes + (1.0 - target) * no))

        return loss


def _of_logits(scores: Any) -> tuple[Any, Any]:
    """log p and log(1 - p)."""
    return tf.math.log_sigmoid(scores), tf.math.log_sigmoid(-scores)


def _of_probabilities(scores: Any) -> tuple[Any, Any]:
    inside = tf.clip_by_value(scores, TINY, 1.0 - TINY)
    return tf.math.log(inside), tf.math.log1p(-inside)


def _of_logarithms(scores: Any) -> tuple[Any, Any]:
    below = tf.minimum(scores, -TINY)
    return below, tf.math.log(-tf.math.expm1(below))
