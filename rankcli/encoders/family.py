"""Families of encoders: everything that depends on the `model_type` of a config.json, one file per family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast

from rankcli.config.registry import Registry
from rankcli.encoders.base import Encoder
from rankcli.encoders.config import EncoderConfig
from rankcli.encoders.heads import Head
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.unsupported import check_kind
from rankcli.encoders.weights import Weight
from rankcli.errors import ConfigError

DEFAULT = "bert"  # the `model_type` of encoders that start from random weights


class Family(ABC):
    """Encoders as Hugging Face stores them: configuration, names of weights, classifier, computation.

    `prefix` comes before the encoder's stored names in a model with a head. `parts` are the beginnings of these names
    without it. `architecture` is the name in config.json of the model without a head. Two encoders that differ in one
    of the fields `alike` compute different results with equal weights, or have weights of other shapes. `inputs` are
    the model's inputs where the tokenizers of transformers do not give all of them unless told to. `shares` says if
    tokens can attend to those of other sequences (`Layout.shared`): not where attention goes by distance.
    """

    prefix: ClassVar[str]
    parts: ClassVar[tuple[str, ...]]
    architecture: ClassVar[str]
    alike: ClassVar[tuple[str, ...]]
    inputs: ClassVar[tuple[str, ...]] = ()
    shares: ClassVar[bool] = False

    @abstractmethod
    def read(self, content: Mapping[str, Any], where: str) -> EncoderConfig:
        """Read the content of a config.json; one ConfigError at `where` lists all settings that are not supported."""

    @abstractmethod
    def write(self, config: EncoderConfig) -> dict[str, Any]:
        """Return the config.json of this encoder, which `read` and transformers can read."""

    @abstractmethod
    def weights(self, config: EncoderConfig, pooler: bool) -> list[Weight]:
        """Return every weight in the order of computation, with names without prefix; ConfigError for a pooler it does
        not have.
        """

    @abstractmethod
    def rename(self, name: str) -> str | None:
        """Return the canonical name (as in `weights` or in the head) of the tensor stored as `name`.

        It has no prefix and the present spelling. Other names are unchanged; None for a mere copy of another weight.
        """

    def own_layers(self, config: EncoderConfig) -> int:
        """Return the number of layers that have weights of their own."""
        return config.layers

    def unused(self, config: EncoderConfig) -> tuple[str, ...]:
        """Return canonical names of weights that checkpoints may have, but that this configuration does not use."""
        return ()

    @abstractmethod
    def head(self, config: EncoderConfig) -> Head:
        """Return the sequence classifier."""

    @abstractmethod
    def build(self, config: EncoderConfig, parameters: Parameters) -> Encoder:
        """Build the encoder that computes with `parameters`, which have `weights`."""


class Families(Registry):
    """Families by `model_type`. A file has a class for each `model_type` of its family.

    Built-in families are the modules of `rankcli/encoders/families`. Other packages add theirs by entry points of the
    group `rankcli.encoders`, named as the `model_type`.
    """

    def check(self, name: str, options: type) -> None:
        """Raise TypeError unless it is a family with a docstring."""
        if not issubclass(options, Family) or not options.__doc__:
            raise TypeError(f"encoder {name!r}: must derive from Family and have a docstring")


ENCODERS = Families("encoders", package="rankcli.encoders.families")


def family_of(kind: Any, where: str = "config.json") -> Family:
    """Return the family of a `model_type`; ConfigError at `where` lists the supported ones."""
    return family_in({"model_type": kind}, where)


def family_in(content: Mapping[str, Any], where: str = "config.json") -> Family:
    """Return the family of the content of a config.json; ConfigError at `where` says why there is none."""
    return cast(Family, ENCODERS.get(check_kind(content, ENCODERS, where), where=where)())


def refuse_pooler(kind: str) -> None:
    """Raise the ConfigError for a pooler that encoders of this `model_type` do not have."""
    raise ConfigError(f"pooling: {kind} encoders have no pooler", fix="use `cls` or `mean`")
