"""The similarity with a query that is moved towards the first documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rankcli.config.registry import SEARCHERS, SIGNALS, component, option
from rankcli.config.types import PositiveInt, Probability
from rankcli.data.scales import standard
from rankcli.searchers.base import SearcherContext, Values
from rankcli.searchers.dense import looked_up
from rankcli.shapes import Floats
from rankcli.signals.base import Candidates, Signal, SignalOptions, asked, check_scores_any, scored_by
from rankcli.signals.first_stage import FirstStage


@SIGNALS.register("rocchio")
@dataclass(frozen=True, kw_only=True)
class Rocchio(SignalOptions):
    """Feedback on vectors (Rocchio 1971): the product with (1 - beta) * query + beta * mean of first documents.

    The first `docs` documents are those with the highest sum of first stage, or of the score by `run`, and `cosine`,
    both standardised. The moved query is scaled to length 1.
    """

    version: ClassVar[int] = 1

    pretrained: str = option(help="a bi-encoder: a run directory, a directory of weights or a hub id", path="model")
    docs: PositiveInt = option(3, "documents that the query is moved towards")
    beta: Probability = option(0.4, "weight of these documents, 0 to 1")
    run: Any = component(SEARCHERS, None, "`bm25` or `dense` in place of the first stage, where that is a `union`")

    def __post_init__(self) -> None:
        check_scores_any(self.run)

    def build(self, ctx: SearcherContext) -> Signal:
        """Open the model."""
        vectors = ctx.vectors(self.pretrained)
        first = FirstStage().build(ctx) if self.run is None else scored_by(self.run.build(ctx))

        def values(block: Sequence[Candidates]) -> list[Values]:
            queries, docs = looked_up(vectors, asked(block))
            return [self._moved(*each) for each in zip(first(block), queries, docs, strict=True)]

        return values

    def _moved(self, first_scores: Values, query: Floats, docs: Floats) -> Values:
        """Return the products of the moved query with the documents."""
        if not len(docs):
            return np.zeros(0)
        wide, own = docs.astype(np.float64), query.astype(np.float64)
        mixed = standard(first_scores) + standard(wide @ own)
        first = np.argsort(-mixed, kind="stable")[: self.docs]
        moved = (1 - self.beta) * own + self.beta * wide[first].mean(axis=0)
        return np.asarray(wide @ (moved / max(float(np.linalg.norm(moved)), 1e-12)))
