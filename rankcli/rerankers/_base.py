"""What a reranker is, and what it is built from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rankcli.encoders.dropout import Dropout
from rankcli.extractors._base import Extractor
from rankcli.shapes import Batch


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


class Reranker(ABC):
    """Scores of a batch, raw logits in float32: one code path for training and prediction.

    `variables` maps a unique path such as `encoder/layer_0/attention/query/kernel` to each variable; optimizer groups
    are regular expressions over these paths, and everything of the encoder starts with `encoder/`.
    """

    output_type: ClassVar[str] = "logits"
    variables: dict[str, Any]

    @abstractmethod
    def scores(self, batch: Batch, dropout: Dropout | None = None) -> Any:
        """Float32 [B, K]; `dropout` is given in training only. Places outside `doc_mask` hold any finite number."""

    @abstractmethod
    def tensors(self) -> dict[str, np.ndarray]:
        """All weights by the names, and in the orientation, that Hugging Face (or the field) stores them in."""

    @abstractmethod
    def assign(self, tensors: dict[str, np.ndarray]) -> None:
        """Set all weights from what `tensors` returned; a missing, unknown or misshapen one is a StorageError naming
        it.
        """

    @abstractmethod
    def save_config(self, directory: Path) -> None:
        """Write the model files beside the weights (`config.json`, ...) that let other tools open the directory."""
