"""The contract of trainer options. The options that the training loop reads are in `training/settings.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.training.base import TrainerContext


@dataclass(frozen=True, kw_only=True)
class TrainerOptions(ABC):
    """The base class of a trainer's options. `group_size` is the number of documents in every group, None for any."""

    version: ClassVar[int] = 1
    group_size: ClassVar[int | None] = None

    @property
    def several(self) -> Mapping[str, Any]:
        """The options of its tasks by name, each with sampler, extractor, loss and batch; empty for a single task."""
        return {}

    @abstractmethod
    def build(self, ctx: TrainerContext) -> Any:
        """Return an object with the methods of the training loop: `fit()`, `best_scorer()`, `outcome(state)`."""
