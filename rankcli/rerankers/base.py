"""The contract of rerankers, and the inputs that they are built from."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from rankcli.encoders.base import Encoder
from rankcli.encoders.build import Pretrained, build_encoder, canonical_names, check_frozen, encoder_config
from rankcli.encoders.config import EncoderSize
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.family import family_of
from rankcli.encoders.parameters import Adapter, Parameters
from rankcli.encoders.weights import Weight, values_from
from rankcli.errors import ConfigError
from rankcli.extractors.base import Extractor, sequence_spec, vocab_size
from rankcli.shapes import Batch, Field, Layout, Outputs
from rankcli.text.weights import Tensors

NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class RerankerContext:
    """The inputs of a reranker's build.

    They are the extractor, the seed of random initial weights, and the dtype of the computation (`float32`, `bfloat16`
    or `float16`; variables and scores are float32). `models` has the model that each option with `path="model"` names,
    by the option's dotted name. `adapters` are applied one after the other, and change how weights are stored or
    trained. With `complete`, nothing may start from random values that a model directory lacks: nothing is trained.
    With `recompute`, encoders compute layers again for gradients, to need less memory.
    """

    extractor: Extractor
    seed: int = 42
    dtype: str = "float32"
    models: Mapping[str, Pretrained] = field(default_factory=dict)
    adapters: Sequence[Adapter] = ()
    complete: bool = False
    recompute: bool = False

    def parameters(self, weights: Sequence[Weight], scale: float = 0.02, root: str = "") -> Parameters:
        """Return new parameters in float32, for all parts except encoders; see `Parameters`."""
        parameters = Parameters(weights, self.seed, "float32", scale, root)
        for adapter in self.adapters:
            parameters = adapter.wrap(parameters)
        return parameters

    def adapter(self, options: Any, model: str | None) -> Adapter | None:
        """Build the adapter with these options for weights from `model`, the user's name of them; None without one."""
        built: Adapter | None = options and options.build(self.seed, model)
        return built

    def encoder(
        self,
        size: EncoderSize,
        field: str,
        model: str = "pretrained",
        adapter: Adapter | None = None,
        **options: Any,
    ) -> Encoder:
        """Build the encoder of the model with that name, for the tokens of a field; without one, a random encoder of
        `size`.

        ConfigError where it does not embed all tokens and places of the field. `adapter` changes how this encoder is
        trained. `options` are those of `build_encoder`: `pooler`, `root`, `prefix`, `frozen`.
        """
        if sequence_spec(self.extractor, field).unknown:
            what = "an encoder cannot read words whose ids depend on the query"
            raise ConfigError(what, where="extractor", fix="use an extractor of subwords, such as `apart` or `passage`")
        given = self.models.get(model)
        tokens = vocab_size(self.extractor, field)
        config = encoder_config(given, size, tokens)
        config.check_fit(tokens, sequence_spec(self.extractor, field).max_length)
        check_frozen(config, options.get("frozen", False), f"reranker.{model.removesuffix('pretrained')}frozen")
        adapters = [*([adapter] if adapter else []), *self.adapters]
        options |= {"adapters": adapters, "complete": self.complete, "recompute": self.recompute}
        return build_encoder(config, given, seed=self.seed, dtype=self.dtype, **options)


class Opened(NamedTuple):
    """The options that correspond to a model directory of another tool."""

    reranker: RerankerOptions
    extractor: Any


class RerankerOptions:
    """Base of the options of rerankers, which are frozen, keyword-only dataclasses.

    `version` is raised when equal options give other scores. `fields` and `columns` are the parts of a batch that it
    reads, `vectors` the names of those in its outputs. `default_extractor` is an extractor that makes these fields.
    With `listwise`, a score may depend on the other documents of its group. `tiny` are options of a model that is fast
    enough for tests.
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
        """Return options for a directory that another tool saved; None if it has no model of this kind.

        MissingError if it has one with settings that this reranker does not compute.
        """
        return None

    def check(self, ctx: RerankerContext) -> None:
        """Raise ConfigError for what would fail a training. It is called before any work, without the weights."""

    def build(self, ctx: RerankerContext) -> Reranker:
        """Load pretrained weights or make random ones."""
        raise NotImplementedError


@dataclass(frozen=True)
class Base:
    """A tower in two stages, so that vectors of frozen encoders can be made once and kept.

    `encode` makes the base vectors of a layout's sequences, float32 [N, W]: the pooled states of one encoder, or of
    several side by side. `finish` makes the tower's vectors of these alone: heads, normalisation. Called with a layout,
    it does both. `parameters` are all that `encode` depends on besides the tokens; `about` says how they are used, in
    words that differ wherever equal weights give other base vectors: configurations, poolings, dtype. `width` is W.
    """

    encode: Callable[[Layout, Dropout | None], Any]
    finish: Callable[[Any, Dropout | None], Any]
    parameters: tuple[Parameters, ...]
    about: str
    width: int

    def __call__(self, layout: Layout, dropout: Dropout | None = None) -> Any:
        """Return the tower's vectors of a layout's sequences."""
        return self.finish(self.encode(layout, dropout), dropout)

    @property
    def frozen(self) -> bool:
        """True if no training changes base vectors: no variable is trained, so `encode` has no dropout either."""
        return not any(v.trainable for part in self.parameters for v in part.variables.values())


def without_adapter(options: Any) -> Any:
    """Return the options of a reranker for weights in which its adapter is merged."""
    return dataclasses.replace(options, adapter=None) if getattr(options, "adapter", None) else options


class Reranker(ABC):
    """A model that scores batches, with the same code for training and prediction.

    A score that is computed from one vector of the query and one of the document (`compare`) is predicted without
    encoding a text twice: `towers` has, for a field of queries and one of documents, the function from a layout to the
    vectors of its sequences, float32 [N, D], with one D for each field. A sequence must depend on its own text alone.
    Towers whose encoders may be frozen are each a `Base`, by field, in `bases` too; then `from_bases` computes outputs
    from base vectors that were made before.

    `parameters` has all weights, in any number of parts (`encoder`, `head`, `encoder/title`, ...). `encoders` has the
    encoders among them, by the same names, `models` the options that name their models, of those that are not of
    `pretrained`, and `adapter` is that of their weights, if any. Optimizer groups are regular expressions over the
    paths of variables. All paths of encoders and embeddings start with `encoder/`.
    """

    parameters: Mapping[str, Parameters]
    encoders: Mapping[str, Encoder] = NONE
    models: Mapping[str, str] = NONE
    adapter: Adapter | None = None
    towers: Mapping[str, Callable[[Layout], Any]] = NONE
    bases: Mapping[str, Base] = NONE

    @abstractmethod
    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute scores, and the vectors that they are computed from, if any. `dropout` is given in training only.

        Prediction uses only the scores, so its graph does not compute anything that only vectors need.
        """

    def compare(self, queries: Any, docs: Any) -> Any:
        """Return the scores of vectors of queries and of documents, one of each per pair, as float32 [P]."""
        raise NotImplementedError(f"{type(self).__name__} has no towers")

    def from_bases(self, batch: Batch, made: Mapping[str, Any], dropout: Dropout | None = None) -> Outputs:
        """Compute what `__call__` does, for the fields in `made` from their base vectors [N, W], one per sequence
        of the field. Of these fields of the batch only `owner` is read.
        """
        raise NotImplementedError(f"{type(self).__name__} has no bases")

    def outputs(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute the outputs of a batch, in which fields may have base vectors in place of a layout."""
        known = {name: each.layout for name, each in batch.fields.items() if has_bases(each)}
        return self.from_bases(batch, known, dropout) if known else self(batch, dropout)

    @abstractmethod
    def save_config(self, directory: Path) -> None:
        """Write the files next to the weights (`config.json`, ...) that other tools need to open the directory."""

    @cached_property
    def variables(self) -> dict[str, Any]:
        """Every variable that is trained or kept in checkpoints, by its unique path, such as
        `encoder/layer_0/attention/qkv/kernel`.
        """
        return {path: v for part in self.parameters.values() for path, v in part.variables.items()}

    @cached_property
    def weights(self) -> list[Weight]:
        """All weights that are saved and loaded, with their stored names and orientation, which are those of Hugging
        Face.
        """
        return [weight for part in self.parameters.values() for weight in part.weights]

    def freeze(self) -> None:
        """Declare that the weights do not change any more: graphs traced from now on may contain them as constants."""
        for part in self.parameters.values():
            part.freeze()

    def tensors(self) -> dict[str, np.ndarray]:
        """Return all weights by their stored names."""
        return {name: value for part in self.parameters.values() for name, value in part.tensors().items()}

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Set all weights from the result of `tensors`.

        One StorageError, with nothing set, lists all names that are missing or unknown and all wrong shapes.
        """
        self.update(values_from(self.weights, tensors, of="reranker"))

    def update(self, values: Mapping[str, np.ndarray]) -> None:
        """Set the weights at these paths."""
        for part in self.parameters.values():
            own = [weight.path for weight in part.weights if weight.path in values]
            part.update({path: values[path] for path in own})

    def converted(self, stored: Tensors, where: str) -> Tensors:
        """Return stored tensors under their canonical names, in the form that this reranker loads."""
        return canonical_names(stored, self.canonical, where)

    def canonical(self, name: str) -> str | None:
        """Return the canonical name, by the families of its encoders, of the tensor stored as `name`; None for a mere
        copy.
        """
        renamed: str | None = name
        for encoder in self.encoders.values():
            renamed = renamed and family_of(encoder.config.kind).rename(renamed)
        return renamed


def has_bases(field: Any) -> bool:
    """True for a field of a batch that has base vectors in place of a layout."""
    return isinstance(field, Field) and not isinstance(field.layout, Layout)
