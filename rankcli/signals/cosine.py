"""The similarity of vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import SIGNALS, option
from rankcli.searchers.base import SearcherContext
from rankcli.searchers.dense import Dense
from rankcli.signals.base import Signal, SignalOptions, scored_by


@SIGNALS.register("cosine")
@dataclass(frozen=True, kw_only=True)
class Cosine(SignalOptions):
    """The product of the vectors of query and document by a bi-encoder that is not trained here; vectors are kept."""

    version: ClassVar[int] = 1
    usual: ClassVar[float] = 1.0

    pretrained: str = option(help="a bi-encoder: a run directory, a directory of weights or a hub id", path="model")

    def build(self, ctx: SearcherContext) -> Signal:
        """Open the model."""
        return scored_by(Dense(pretrained=self.pretrained).build(ctx))
