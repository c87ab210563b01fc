"""ALBERT (Lan et al. 2020)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from rankcli.encoders.base import Encoder
from rankcli.encoders.config import ConfigReader, EncoderConfig, Key
from rankcli.encoders.families.bert import Bert, with_defaults
from rankcli.encoders.family import ENCODERS
from rankcli.encoders.heads import Head, HeadLayer
from rankcli.encoders.layers import Block
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.transformer import TransformerEncoder
from rankcli.encoders.weights import Weight, dense

_MOST = 1000  # layers; they share weights, so the weights do not show that a number in config.json is forged


@dataclass(frozen=True, kw_only=True)
class AlbertConfig(EncoderConfig):
    """Groups of layers that share their weights.

    Each of `layers` is one pass through the `inner` layers of a group. The groups take equal shares of the passes, in
    order.
    """

    groups: int = 1
    inner: int = 1

    def passes(self) -> list[int]:
        """Return the group of each pass."""
        return [n * self.groups // self.layers for n in range(self.layers)]


@ENCODERS.register("albert")
class Albert(Bert):
    """BERT's layers with shared weights, over narrow embeddings that are projected; a pooler for the first token."""

    prefix: ClassVar[str] = "albert"
    architecture: ClassVar[str] = "AlbertModel"
    alike: ClassVar[tuple[str, ...]] = (*Bert.alike, "layers", "groups", "inner")
    keys: ClassVar[tuple[Key, ...]] = with_defaults(
        Bert.keys, hidden_act="gelu_new", dropout=0.0, attention_dropout=0.0
    )
    # segments are part of its training; but version 5 of transformers leaves them out
    inputs: ClassVar[tuple[str, ...]] = ("input_ids", "token_type_ids", "attention_mask")
    width_key: ClassVar[str] = "embedding_size"
    stored: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "attention/qkv": tuple(f"attention.{part}" for part in ("query", "key", "value")),
        "attention/output": ("attention.dense",),
        "attention/layer_norm": ("attention.LayerNorm",),
        "intermediate": ("ffn",),
        "output": ("ffn_output",),
        "layer_norm": ("full_layer_layer_norm",),
    }

    def read(self, content: Mapping[str, Any], where: str) -> EncoderConfig:
        """Read BERT's settings, and the numbers of groups and of layers in a group."""
        settings = ConfigReader(content, where)
        values = self.values(settings)
        groups, inner = (settings.number(key, 1) for key in ("num_hidden_groups", "inner_group_num"))
        settings.refuse(values["layers"] * inner > _MOST, f"more than {_MOST} layers")
        settings.refuse(groups > max(values["layers"], 1), "num_hidden_groups is greater than num_hidden_layers")
        settings.check()
        return AlbertConfig(kind=content["model_type"], **values, groups=groups, inner=inner)

    def write(self, config: EncoderConfig) -> dict[str, Any]:
        """Return BERT's keys, and those of the groups."""
        own = cast(AlbertConfig, config)
        return {**super().write(config), "num_hidden_groups": own.groups, "inner_group_num": own.inner}

    def own_layers(self, config: EncoderConfig) -> int:
        """Return the number of layers of all groups."""
        own = cast(AlbertConfig, config)
        return own.groups * own.inner

    def weights(self, config: EncoderConfig, pooler: bool) -> list[Weight]:
        """Return tables, the projection, the layers of all groups, and the pooler if wanted."""
        own, inner, outer = cast(AlbertConfig, config), config.embedding_size, config.hidden_size
        weights = self.embedding_weights(config)
        weights += dense("embeddings_project", ("encoder.embedding_hidden_mapping_in",), inner, outer)
        for group in range(own.groups):
            for n in range(own.inner):
                name = f"encoder.albert_layer_groups.{group}.albert_layers.{n}"
                weights += self.layer_weights(config, f"group_{group}/layer_{n}", name)
        return weights + (dense("pooler", ("pooler",), outer, outer) if pooler else [])

    def head(self, config: EncoderConfig) -> Head:
        """Return the classifier: pooler, dropout, linear layer."""
        layers, key = (HeadLayer(name="classifier"),), "classifier_dropout_prob"
        return Head(architecture="AlbertForSequenceClassification", pooling="pooler", layers=layers, dropout_key=key)

    def build(self, config: EncoderConfig, parameters: Parameters) -> Encoder:
        """Build embeddings, and layers of which several have the same weights."""
        own, block = cast(AlbertConfig, config), self.block(config)
        layers = [(f"group_{group}/layer_{n}", block) for group in own.passes() for n in range(own.inner)]
        return TransformerEncoder(config, parameters, layers)

    def block(self, config: EncoderConfig) -> Block:
        """Return the options of one layer, which has no dropout after its feed-forward net."""
        return dataclasses.replace(super().block(config), dropout=0.0, attended_dropout=config.dropout)
