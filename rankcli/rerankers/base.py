"""What a reranker is, and what it is built from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from rankcli.encoders.base import Encoder
from rankcli.encoders.build import Pretrained, build_encoder, canonical_names, encoder_config
from rankcli.encoders.config import EncoderSize
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.family import family_of
from rankcli.encoders.parameters import Adapter, Parameters
from rankcli.encoders.weights import Weight, values_from
from rankcli.extractors.base import Extractor, sequence_spec, vocab_size
from rankcli.shapes import Batch, Outputs
from rankcli.text.weights import Tensors

NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class RerankerContext:
    """What a reranker may be built from: the extractor, the seed of random initial weights, and the dtype it computes
    in (`float32`, `bfloat16` or `float16`; variables and scores are float32).

    `models` has the model that each option with `path="model"` names, by the option's dotted name. `adapters` change
    how weights are held or trained, in turn.
    """

    extractor: Extractor
    seed: int = 42
    dtype: str = "float32"
    models: Mapping[str, Pretrained] = field(default_factory=dict)
    adapters: Sequence[Adapter] = ()

    def parameters(self, weights: Sequence[Weight], scale: float = 0.02, root: str = "") -> Parameters:
        """New parameters in float32, for all but encoders; see `Parameters`."""
        parameters = Parameters(weights, self.seed, "float32", scale, root)
        for adapter in self.adapters:
            parameters = adapter.wrap(parameters)
        return parameters

    def encoder(self, size: EncoderSize, field: str, model: str = "pretrained", **options: Any) -> Encoder:
        """The encoder of a model of that name, for the tokens of a field; of `size`, random, where there is no model.

        ConfigError where it does not embed all tokens and places of the field.

        `options` are those of `build_encoder`: `pooler`, `root`, `prefix`.
        """
        given = self.models.get(model)
        tokens = vocab_size(self.extractor, field)
        config = encoder_config(given, size, tokens)
        config.check_fit(tokens, sequence_spec(self.extractor, field).max_length)
        return build_encoder(config, given, seed=self.seed, dtype=self.dtype, adapters=self.adapters, **options)


class Opened(NamedTuple):
    """The options that a model directory of another tool stands for."""

    reranker: RerankerOptions
    extractor: Any


class RerankerOptions:
    """Base of the options of rerankers, which are frozen, keyword-only dataclasses.

    `version` is raised when equal options give other scores. `fields` and `columns` are read of a batch, `vectors`
    names those of the outputs, `default_extractor` an extractor that makes these fields. With `listwise`, a score may
    depend on the other documents of its group. `tiny` are options of a model that tests can compute in no time.
    """

    version: ClassVar[int]
    fields: ClassVar[tuple[str, ...]]
    default_extractor: ClassVar[str]
    columns: ClassVar[tuple[str, ...]] = ()
    vectors: ClassVar[tuple[str, ...]] = ()
    listwise: ClassVar[bool] = False
    tiny: ClassVar[Mapping[str, Any]] = NONE

    @classmethod
    def opens(cls, directory: Path) -> Opened | None:
        """Options for a directory that another tool saved; None where it holds no model of this kind.

        MissingError where it does hold one, with settings that are not computed here.
        """
        return None

    def build(self, ctx: RerankerContext) -> Reranker:
        """Load pretrained weights or make random ones."""
        raise NotImplementedError


class Reranker(ABC):
    """A model that scores batches: one code path for training and prediction.

    `parameters` holds all weights, in any number of parts (`encoder`, `head`, `encoder/title`, ...); `encoders` what
    reads tokens with some of them, by the same names. Optimizer groups are regular expressions over the paths of
    variables; everything of encoders and embeddings starts with `encoder/`.
    """

    parameters: Mapping[str, Parameters]
    encoders: Mapping[str, Encoder] = NONE

    @abstractmethod
    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute scores, and the vectors that they are made of where there are such; `dropout` is given in training
        only. Prediction takes the scores alone, and what only makes vectors is not computed then.
        """

    @abstractmethod
    def save_config(self, directory: Path) -> None:
        """Write the model files beside the weights (`config.json`, ...) that let other tools open the directory."""

    @cached_property
    def variables(self) -> dict[str, Any]:
        """Every variable by its unique path, such as `encoder/layer_0/attention/qkv/kernel`."""
        return {path: v for part in self.parameters.values() for path, v in part.variables.items()}

    @cached_property
    def weights(self) -> list[Weight]:
        """What is saved and loaded, with the names and the orientation that Hugging Face (or the field) has for it."""
        return [weight for part in self.parameters.values() for weight in part.weights]

    def freeze(self) -> None:
        """Say that the weights will not change any more: what is traced from now on may hold them as constants."""
        for part in self.parameters.values():
            part.freeze()

    def tensors(self) -> dict[str, np.ndarray]:
        """All weights by the names that they are stored under."""
        return {name: value for part in self.parameters.values() for name, value in part.tensors().items()}

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Set all weights from what `tensors` returned; one StorageError, with nothing set, names all that is missing,
        unknown or misshapen.
        """
        self.update(values_from(self.weights, tensors, of="reranker"))

    def update(self, values: Mapping[str, np.ndarray]) -> None:
        """Set the weights at these paths."""
        for part in self.parameters.values():
            own = [weight.path for weight in part.weights if weight.path in values]
            part.update({path: values[path] for path in own})

    def converted(self, stored: Tensors, where: str) -> Tensors:
        """Stored tensors by their canonical names, as this reranker takes them."""
        return canonical_names(stored, self.canonical, where)

    def canonical(self, name: str) -> str | None:
        """The name that the families of its encoders give to what is stored as `name`; None for a mere copy."""
        renamed: str | None = name
        for encoder in self.encoders.values():
            renamed = renamed and family_of(encoder.config.kind).rename(renamed)
        return renamed
