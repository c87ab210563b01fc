"""The contract of the options of adapters. That of adapters themselves is in `encoders/parameters.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from rankcli.encoders.parameters import Adapter


@dataclass(frozen=True, kw_only=True)
class AdapterOptions(ABC):
    """The base class of an adapter's options. With `keeps_base`, it must be known what the weights were at the start,
    by a name with which other tools open them.
    """

    version: ClassVar[int] = 1

    @property
    def keeps_base(self) -> bool:
        """True if saved files name the model that the training started from."""
        return False

    @abstractmethod
    def build(self, seed: int, model: str | None) -> Adapter:
        """Build it for an encoder from `model` (None: random weights); its own weights start from `seed`."""
