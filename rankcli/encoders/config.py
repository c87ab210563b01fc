"""The configuration of an encoder, read from `config.json` by its family or given by the user."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from rankcli.config.registry import option
from rankcli.config.types import NonNegativeInt, PositiveInt, Rate
from rankcli.encoders.unsupported import nearest, refused
from rankcli.errors import ConfigError

# A field of ours, its key in config.json, and the value of a config.json without the key (None: the key is needed).
Key: TypeAlias = tuple[str, str, Any]
SIZES: tuple[Key, ...] = (
    ("vocab_size", "vocab_size", None),
    ("hidden_size", "hidden_size", None),
    ("layers", "num_hidden_layers", None),
    ("heads", "num_attention_heads", None),
    ("intermediate_size", "intermediate_size", None),
)


@dataclass(frozen=True, kw_only=True)
class EncoderSize:
    """The size of a BERT encoder with random initial weights; with 0 layers it has embeddings only."""

    layers: NonNegativeInt = option(2, "transformer layers of an encoder without pretrained weights")
    hidden: PositiveInt = option(128, "size of its token states")
    heads: PositiveInt = option(4, "its attention heads; `hidden` must be a multiple")
    intermediate: PositiveInt = option(512, "size of its feed-forward layers")
    dropout: Rate = option(0.1, "its dropout rate, in attention too")
    max_positions: PositiveInt = option(512, "its longest sequence in tokens")

    def __post_init__(self) -> None:
        if self.hidden % self.heads:
            raise ValueError(f"hidden = {self.hidden} must be a multiple of heads = {self.heads}")


TINY = EncoderSize(layers=1, hidden=8, heads=2, intermediate=12, max_positions=32)  # for tests


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes and constants that encoders of most families have; a family with more of them derives its own class.

    `kind` is the `model_type` of config.json. `embedding_size` is the width of the embedding tables; they are projected
    where it differs from `hidden_size`. `max_positions` is the longest sequence in tokens. `dropout` is for embeddings
    and the outputs of attention and feed-forward nets, `attention_dropout` for attention weights.
    """

    kind: str
    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    embedding_size: int
    max_positions: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    pad_token_id: int = 0
    initializer_range: float = 0.02

    @classmethod
    def from_size(cls, size: EncoderSize, vocab_size: int, kind: str) -> EncoderConfig:
        """Return an encoder of the user's size over a vocabulary of `vocab_size` tokens."""
        return cls(
            kind=kind,
            vocab_size=vocab_size,
            hidden_size=size.hidden,
            layers=size.layers,
            heads=size.heads,
            intermediate_size=size.intermediate,
            embedding_size=size.hidden,
            max_positions=size.max_positions,
            dropout=size.dropout,
            attention_dropout=size.dropout,
        )

    def check_fit(self, vocab_size: int, max_length: int = 0) -> None:
        """Raise ConfigError unless every token of `vocab_size` and every place of `max_length` has an embedding."""
        if vocab_size > self.vocab_size:
            raise ConfigError(
                f"the tokenizer has {vocab_size} tokens, but the encoder embeds only {self.vocab_size}",
                where="extractor.tokenizer",
                fix="use the tokenizer that belongs to the encoder's weights",
            )
        if max_length > self.max_positions:
            raise ConfigError(
                f"sequences of {max_length} tokens, but the encoder has only {self.max_positions} positions",
                where="extractor.maxseqlen",
                fix=f"set it to {self.max_positions} or less",
            )


@dataclass(frozen=True)
class ConfigReader:
    """Reads a config.json setting by setting, and collects all faults for one error."""

    content: Mapping[str, Any]
    where: str
    faults: list[str] = field(default_factory=list)

    def number(self, key: str, default: Any = None, least: int = 1) -> Any:
        """Return a number of the type of `default`, whole without a default, at least `least`. Fractions may be 0."""
        value = self.get(key, default)
        fraction = isinstance(default, float)
        least = 0 if fraction else least
        right = isinstance(value, (int, float) if fraction else int) and not isinstance(value, bool)
        if right and least <= value < math.inf:
            return float(value) if fraction else value
        wanted = "number" if fraction else "whole number"
        self.faults.append(f"{key} is {value!r}, but must be a {wanted} >= {least}")
        return default or 1

    def choice(self, key: str, default: Any, legal: Sequence[Any]) -> Any:
        """Return one of the supported values."""
        value = self.get(key, default)
        self.refuse(value not in legal, f"{key} {value!r}: supported are {', '.join(map(str, legal))}")
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key. null stands for the default."""
        value = self.content.get(key)
        return default if value is None else value

    def refuse(self, condition: Any, what: str) -> None:
        """Note a fault if `condition` is true: a setting that this family does not compute."""
        if condition:
            self.faults.append(what)

    def check(self) -> None:
        """Raise a ConfigError that lists all faults, if any, and those that no family supports."""
        if faults := [*self.faults, *refused(self.content)]:
            raise ConfigError("; ".join(faults), where=self.where, fix=nearest(self.content))
