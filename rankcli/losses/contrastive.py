"""Contrastive loss of distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.config.types import PositiveFloat
from rankcli.losses._vectors import normalised
from rankcli.losses.base import Loss, LossOptions, mean_over_documents
from rankcli.shapes import Batch, Outputs, StepContext
from rankcli.vectors import is_relevant, vectors_of


@LOSSES.register("contrastive")
@dataclass(frozen=True, kw_only=True)
class Contrastive(LossOptions):
    """Contrastive loss of vectors: relevant documents near the query, others beyond a margin.

    Mean over a group's documents of d^2 / 2 if relevant, else max(0, margin - d)^2 / 2, with d = 1 - cosine.

    Source: Hadsell, Chopra and LeCun (CVPR 2006), with the distance of sentence-transformers. A document's term is
    multiplied by its `weight`; the mean divides by the number of documents.
    """

    reads: ClassVar[tuple[str, ...]] = ("query", "doc")
    margin: PositiveFloat = option(0.5, "the distance at which a document that is not relevant costs nothing")

    def build(self) -> Loss:
        """Return the loss function."""

        def loss(batch: Batch, outputs: Outputs, step: StepContext) -> Any:
            own = normalised(vectors_of(batch, outputs))
            distances = 1.0 - tf.einsum("bd,bkd->bk", own.queries, own.docs)
            short = tf.where(is_relevant(batch), distances, tf.nn.relu(self.margin - distances))
            return mean_over_documents(batch, tf.square(short) / 2.0)

        return loss
