"""The model of a run before its training: the options it is built from, and the weights it starts from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rankcli.config.schema import Init
from rankcli.data.dataset import Dataset
from rankcli.extractors.base import Extractor
from rankcli.rerankers.base import Reranker, RerankerContext
from rankcli.runs.initial import Initial


@dataclass(frozen=True)
class Start:
    """The options of the reranker; the `options` of its extractor, and the extractor; the directory of the pretrained
    weights; and the option `init`, which names other weights to start from.
    """

    reranker: Any
    options: Any
    extractor: Extractor
    pretrained: Path | None
    init: Init | None

    @cached_property
    def initial(self) -> Initial | None:
        """Other weights to start from."""
        return Initial.of(self.init) if self.init else None

    def check(self, dataset: Dataset) -> None:
        """Look whether the other weights can be read, and warn where they were trained on queries that measure."""
        if self.initial is not None:
            self.initial.check()
            self.initial.warn_of_leakage(dataset)

    def build(self, seed: int, dtype: str) -> Reranker:
        """The reranker with its own first weights."""
        model: Reranker = self.reranker.build(RerankerContext(self.extractor, seed, dtype, self.pretrained))
        return model

    def initialise(self, reranker: Reranker) -> str:
        """Give the reranker the weights to start from, if there are others than its own; returns what is told of it.

        Training calls this back once it has built the model on its devices.
        """
        return self.initial.load(reranker, self.options, self.extractor.fingerprint) if self.initial else ""
