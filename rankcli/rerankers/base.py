"""What a reranker is, and what it is built from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rankcli.encoders.build import Pretrained
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.weights import Weight, values_from
from rankcli.extractors.base import Extractor
from rankcli.shapes import Batch, Outputs


@dataclass(frozen=True)
class RerankerContext:
    """What a reranker may be built from: the extractor, the seed of random initial weights, the dtype it computes in
    (`float32`, `bfloat16` or `float16`; variables and scores are float32) and the directory of its pretrained weights,
    if any.
    """

    extractor: Extractor
    seed: int = 42
    dtype: str = "float32"
    pretrained: Path | None = None

    @cached_property
    def stored(self) -> Pretrained | None:
        """What is in that directory, read once however many parts of a reranker take theirs."""
        return None if self.pretrained is None else Pretrained(self.pretrained)


@dataclass(frozen=True, kw_only=True)
class RerankerOptions:
    """Base of the options of rerankers."""

    version: ClassVar[int]
    fields: ClassVar[tuple[str, ...]]
    default_extractor: ClassVar[str]
    columns: ClassVar[tuple[str, ...]] = ()
    vectors: ClassVar[tuple[str, ...]] = ()
    listwise: ClassVar[bool] = False


class Reranker(ABC):
    """A model that scores batches: one code path for training and prediction.

    `encoder` is what reads tokens. `variables` maps a unique path such as `encoder/layer_0/attention/query/kernel` to
    each variable; optimizer groups are regular expressions over these paths, and everything of the encoder starts with
    `encoder/`. `weights` says, for each of them, under which names and in which orientation Hugging Face (or the field)
    stores it.
    """

    encoder: Any
    variables: dict[str, Any]
    weights: Sequence[Weight]

    @abstractmethod
    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute scores, and the vectors that they are made of where there are such; `dropout` is given in training
        only. Prediction takes the scores alone, and what only makes vectors is not computed then.
        """

    @abstractmethod
    def save_config(self, directory: Path) -> None:
        """Write the model files beside the weights (`config.json`, ...) that let other tools open the directory."""

    def freeze(self) -> None:
        """Say that the weights will not change any more: what is traced from now on may hold them as constants."""
        self.encoder.freeze()

    def tensors(self) -> dict[str, np.ndarray]:
        """All weights by the names that they are stored under."""
        return {
            name: part
            for weight in self.weights
            for name, part in weight.stored(self.variables[weight.path].numpy()).items()
        }

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Set all weights from what `tensors` returned; one StorageError, with nothing set, names all that is missing,
        unknown or misshapen.
        """
        for path, value in values_from(self.weights, tensors, of="reranker").items():
            self.variables[path].assign(value)
