"""The contract of losses, and arithmetic that several of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.shapes import Batch, Outputs, StepContext

Loss = Callable[[Batch, Outputs, StepContext], Any]
FLOOR = -1e9  # replaces minus infinity for padding in a softmax


@dataclass(frozen=True, kw_only=True)
class LossOptions(ABC):
    """The base class of a loss's options.

    `min_docs` is the least number of documents in a group. `columns` names the columns of the batch that it needs and
    the sampler must give. `reads` names the reranker's outputs that it reads, `scores` or vectors. `in_batch` is True
    for a loss that compares groups of a batch with each other: then batches have `keys`. `remembers` is True for one of
    these that also compares with `step.memory`. `weighted` is False for a loss that ignores the column `weight`, `xla`
    for one that XLA does not compile.
    """

    version: ClassVar[int] = 1
    min_docs: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[str, ...]] = ("scores",)
    in_batch: ClassVar[bool] = False
    remembers: ClassVar[bool] = False
    weighted: ClassVar[bool] = True
    xla: ClassVar[bool] = True

    @abstractmethod
    def build(self) -> Loss:
        """Return `loss(batch, outputs, step) -> [B]`: one finite value per group, 0 for a padding group."""


@dataclass(frozen=True, kw_only=True)
class GroupLoss(LossOptions):
    """The base class of a loss that needs only the scores and columns of each group."""

    @abstractmethod
    def value(self, batch: Batch, scores: Any) -> Any:
        """Return the loss of each group, [B]. `scores` [B, K] are float32; they and the labels are 0 on padding
        places.
        """

    def build(self) -> Loss:
        """Return the loss function."""

        def loss(batch: Batch, outputs: Outputs, step: StepContext) -> Any:
            scores = tf.cast(outputs.scores, tf.float32)
            return self.value(batch._replace(labels=masked(batch, batch.labels)), masked(batch, scores))

        return loss


def masked(batch: Batch, values: Any, fill: float = 0.0) -> Any:
    """Return `values` [B, K] with `fill` on padding places."""
    return tf.where(batch.doc_mask, values, tf.cast(fill, values.dtype))


def weights_of(batch: Batch) -> Any:
    """Return the column `weight`, float32 [B, K], with 0 on padding places. Without it, real documents have 1."""
    given = batch.columns.get("weight")
    return tf.cast(batch.doc_mask, tf.float32) if given is None else masked(batch, given)


def mean_over_documents(batch: Batch, values: Any) -> Any:
    """Return the sum of weight x `values` [B, K] over each group's real documents, divided by their number; 0 without
    any.

    A weight scales its document's term; a weight that all documents of a group share scales the group's loss.
    """
    total = tf.reduce_sum(weights_of(batch) * masked(batch, values), axis=1)
    return tf.math.divide_no_nan(total, tf.reduce_sum(tf.cast(batch.doc_mask, tf.float32), axis=1))
