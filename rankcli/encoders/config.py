"""The shape of an encoder, as Hugging Face's `config.json` says it or as the user asks for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rankcli.config.registry import option
from rankcli.config.types import NonNegativeInt, PositiveInt, Rate
from rankcli.errors import ConfigError

KINDS = ("bert", "electra")
ACTIVATIONS = ("gelu", "gelu_new", "relu")

# Our field, its key in config.json, and what a config.json without the key stands for (None: the key is needed).
_KEYS: tuple[tuple[str, str, Any], ...] = (
    ("vocab_size", "vocab_size", None),
    ("hidden_size", "hidden_size", None),
    ("layers", "num_hidden_layers", None),
    ("heads", "num_attention_heads", None),
    ("intermediate_size", "intermediate_size", None),
    ("max_positions", "max_position_embeddings", 512),
    ("type_vocab_size", "type_vocab_size", 2),
    ("layer_norm_eps", "layer_norm_eps", 1e-12),
    ("hidden_act", "hidden_act", "gelu"),
    ("dropout", "hidden_dropout_prob", 0.1),
    ("attention_dropout", "attention_probs_dropout_prob", 0.1),
    ("pad_token_id", "pad_token_id", 0),
    ("initializer_range", "initializer_range", 0.02),
)

_MAY_BE_ZERO = ("num_hidden_layers", "pad_token_id")


@dataclass(frozen=True, kw_only=True)
class EncoderSize:
    """The size of a BERT encoder with random initial weights; 0 layers leave the embeddings alone."""

    layers: NonNegativeInt = option(2, "transformer layers of an encoder without pretrained weights")
    hidden: PositiveInt = option(128, "size of its token states")
    heads: PositiveInt = option(4, "its attention heads; `hidden` must be a multiple")
    intermediate: PositiveInt = option(512, "size of its feed-forward layers")
    dropout: Rate = option(0.1, "its dropout rate, in attention too")
    max_positions: PositiveInt = option(512, "its longest sequence in tokens")

    def __post_init__(self) -> None:
        if self.hidden % self.heads:
            raise ValueError(f"hidden = {self.hidden} must be a multiple of heads = {self.heads}")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes and constants of a BERT or ELECTRA encoder.

    `embedding_size` is the width of the embedding tables; a projection follows where it is not `hidden_size` (ELECTRA).
    `dropout` is for embeddings and the outputs of attention and feed-forward nets, `attention_dropout` for attention.
    """

    kind: Literal["bert", "electra"] = "bert"
    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    embedding_size: int
    max_positions: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_act: Literal["gelu", "gelu_new", "relu"] = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    pad_token_id: int = 0
    initializer_range: float = 0.02

    @classmethod
    def from_size(cls, size: EncoderSize, vocab_size: int) -> EncoderConfig:
        """A BERT of the user's size over a vocabulary of `vocab_size` tokens."""
        return cls(
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

    @classmethod
    def from_hf(cls, content: Mapping[str, Any], where: str = "config.json") -> EncoderConfig:
        """From what a `config.json` holds; ConfigError at `where` on a model that this encoder does not compute."""
        _refuse_unsupported(content, where)
        values: dict[str, Any] = {"kind": content["model_type"]}
        for name, key, default in _KEYS:
            values[name] = _value(content, key, default, where)
        size_key = "embedding_size" if values["kind"] == "electra" else "hidden_size"
        values["embedding_size"] = _value(content, size_key, None, where)
        if values["hidden_size"] % values["heads"]:
            raise ConfigError("hidden_size is not a multiple of num_attention_heads", where=where)
        return cls(**values)

    def to_hf(self) -> dict[str, Any]:
        """What `config.json` says of this encoder; `from_hf` reads it back, and so does transformers."""
        content: dict[str, Any] = {"model_type": self.kind}
        content.update((key, getattr(self, name)) for name, key, _ in _KEYS)
        if self.kind == "electra":
            content["embedding_size"] = self.embedding_size
        return content

    def check_fit(self, vocab_size: int, max_length: int = 0) -> None:
        """ConfigError unless every token of `vocab_size` and every place of `max_length` has an embedding."""
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


def _refuse_unsupported(content: Mapping[str, Any], where: str) -> None:
    kind = content.get("model_type")
    if kind not in KINDS:
        named = f"is {kind!r}" if kind else "is missing"
        raise ConfigError(
            f"model_type {named}; encoders of type {' and '.join(KINDS)} are supported",
            where=where,
            fix="use a BERT or ELECTRA checkpoint",
        )
    positions = content.get("position_embedding_type", "absolute")
    if positions not in (None, "absolute"):
        raise ConfigError(f"position_embedding_type {positions!r}: only absolute positions are supported", where=where)
    if content.get("is_decoder") or content.get("add_cross_attention"):
        raise ConfigError("a decoder; only encoders are supported", where=where)
    activation = content.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise ConfigError(f"hidden_act {activation!r}: supported are {', '.join(ACTIVATIONS)}", where=where)


def _value(content: Mapping[str, Any], key: str, default: Any, where: str) -> Any:
    """The value of `key`, a number of the kind that its default is; names are checked elsewhere."""
    value = content.get(key)
    value = default if value is None else value
    if isinstance(default, str):
        return value
    fraction = isinstance(default, float)
    least = 0 if fraction or key in _MAY_BE_ZERO else 1
    right = isinstance(value, (int, float) if fraction else int) and not isinstance(value, bool)
    if not right or not least <= value < math.inf:
        wanted = "number" if fraction else "whole number"
        raise ConfigError(f"{key} is {value!r}, but must be a {wanted} >= {least}", where=where)
    return float(value) if fraction else value
