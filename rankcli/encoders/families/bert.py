"""BERT (Devlin et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rankcli.encoders.base import Encoder
from rankcli.encoders.config import SIZES, ConfigReader, EncoderConfig, Key
from rankcli.encoders.family import ENCODERS, Family
from rankcli.encoders.heads import Head, HeadLayer
from rankcli.encoders.layers import Block, layer_weights
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.transformer import TransformerEncoder
from rankcli.encoders.weights import Weight, dense, norm, table

_KEYS: tuple[Key, ...] = (
    *SIZES,
    ("max_positions", "max_position_embeddings", 512),
    ("type_vocab_size", "type_vocab_size", 2),
    ("layer_norm_eps", "layer_norm_eps", 1e-12),
    ("hidden_act", "hidden_act", "gelu"),
    ("dropout", "hidden_dropout_prob", 0.1),
    ("attention_dropout", "attention_probs_dropout_prob", 0.1),
    ("pad_token_id", "pad_token_id", 0),
    ("initializer_range", "initializer_range", 0.02),
)
_MAY_BE_ZERO = ("layers", "pad_token_id")
_STORED = {
    "attention/qkv": tuple(f"attention.self.{part}" for part in ("query", "key", "value")),
    "attention/output": ("attention.output.dense",),
    "attention/layer_norm": ("attention.output.LayerNorm",),
    "intermediate": ("intermediate.dense",),
    "output": ("output.dense",),
    "layer_norm": ("output.LayerNorm",),
}


def with_defaults(keys: tuple[Key, ...], **defaults: Any) -> tuple[Key, ...]:
    """Return keys with other values for fields that config.json lacks."""
    return tuple((name, key, defaults.get(name, default)) for name, key, default in keys)


@ENCODERS.register("bert")
class Bert(Family):
    """Post-norm layers over embeddings of words, absolute positions and segments; a pooler for the first token."""

    prefix: ClassVar[str] = "bert"
    parts: ClassVar[tuple[str, ...]] = ("embeddings.", "embeddings_project.", "encoder.", "pooler.")
    architecture: ClassVar[str] = "BertModel"
    shares: ClassVar[bool] = True
    alike: ClassVar[tuple[str, ...]] = (
        *("kind", "hidden_size", "embedding_size", "intermediate_size", "heads", "max_positions"),
        *("hidden_act", "layer_norm_eps"),
    )
    keys: ClassVar[tuple[Key, ...]] = _KEYS
    width_key: ClassVar[str] = "hidden_size"  # the key of the width of embedding tables
    layer: ClassVar[str] = "encoder.layer"  # stored names of layer n begin with it and n
    stored: ClassVar[Mapping[str, tuple[str, ...]]] = _STORED  # the rest of the stored names of each part of a layer

    def read(self, content: Mapping[str, Any], where: str) -> EncoderConfig:
        """Read sizes and constants. ConfigError for decoders and relative positions."""
        settings = ConfigReader(content, where)
        values = self.values(settings)
        settings.check()
        return EncoderConfig(kind=content["model_type"], **values)

    def values(self, settings: ConfigReader) -> dict[str, Any]:
        """Read the fields of the configuration, and note the settings that are not supported."""
        positions = settings.get("position_embedding_type", "absolute")
        settings.refuse(
            positions != "absolute",
            f"position_embedding_type {positions!r}: only absolute positions are supported",
        )
        values = {
            name: settings.choice(key, default, ("gelu", "gelu_new", "relu"))
            if name == "hidden_act"
            else settings.number(key, default, least=0 if name in _MAY_BE_ZERO else 1)
            for name, key, default in self.keys
        }
        width = settings.number(self.width_key)
        divides = values["hidden_size"] % values["heads"] == 0
        named = {name: key for name, key, _ in self.keys}
        settings.refuse(not divides, f"{named['hidden_size']} is not a multiple of {named['heads']}")
        return {**values, "embedding_size": width}

    def write(self, config: EncoderConfig) -> dict[str, Any]:
        """Return the keys that `read` reads."""
        content = {key: getattr(config, name) for name, key, _ in self.keys}
        return {"model_type": config.kind, **content, self.width_key: config.embedding_size}

    def weights(self, config: EncoderConfig, pooler: bool) -> list[Weight]:
        """Return tables, a projection for narrow embeddings, layers, and the pooler if wanted."""
        inner, outer = config.embedding_size, config.hidden_size
        weights = self.embedding_weights(config)
        if inner != outer:
            weights += dense("embeddings_project", ("embeddings_project",), inner, outer)
        for n in range(config.layers):
            weights += self.layer_weights(config, f"layer_{n}", f"{self.layer}.{n}")
        return weights + (dense("pooler", ("pooler.dense",), outer, outer) if pooler else [])

    def embedding_weights(self, config: EncoderConfig) -> list[Weight]:
        """Return the tables, those without rows left out, and the normalisation of their sums."""
        places = self.first_position(config) + config.max_positions
        sizes = {"word": config.vocab_size, "position": places, "token_type": config.type_vocab_size}
        rows = {f"embeddings{{}}{part}_embeddings": size for part, size in sizes.items() if size}
        width = config.embedding_size
        weights = [table(name.format("/"), name.format("."), size, width) for name, size in rows.items()]
        return weights + norm("embeddings/layer_norm", "embeddings.LayerNorm", width)

    def layer_weights(self, config: EncoderConfig, path: str, name: str) -> list[Weight]:
        """Return the weights of the layer at `path`, whose stored names begin with `name`."""
        stored = {part: tuple(f"{name}.{own}" for own in names) for part, names in self.stored.items()}
        return layer_weights(self.block(config), path, config.hidden_size, config.intermediate_size, stored)

    def rename(self, name: str) -> str | None:
        """Remove the prefix, and rename gamma and beta, the former names of normalisation weights."""
        stem, _, last = name.rpartition(".LayerNorm.")
        renamed = {"gamma": "weight", "beta": "bias"}.get(last)
        modern = f"{stem}.LayerNorm.{renamed}" if stem and renamed else name
        own = modern.removeprefix(f"{self.prefix}.")
        return own if own.startswith(self.parts) else modern

    def head(self, config: EncoderConfig) -> Head:
        """Return the classifier: pooler, dropout, linear layer."""
        layers = (HeadLayer(name="classifier"),)
        return Head(architecture="BertForSequenceClassification", pooling="pooler", layers=layers)

    def build(self, config: EncoderConfig, parameters: Parameters) -> Encoder:
        """Build embeddings and equal layers."""
        layers = [(f"layer_{n}", self.block(config)) for n in range(config.layers)]
        return TransformerEncoder(config, parameters, layers, self.first_position(config))

    def first_position(self, config: EncoderConfig) -> int:
        """Return the row of the position table that belongs to the first token of a sequence."""
        return 0

    def block(self, config: EncoderConfig) -> Block:
        """Return the options of one layer."""
        return Block(
            activation=config.hidden_act,
            epsilon=config.layer_norm_eps,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
        )
