"""DistilBERT (Sanh et al. 2019)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from rankcli.encoders.config import ConfigReader, EncoderConfig, Key
from rankcli.encoders.families.bert import Bert
from rankcli.encoders.family import ENCODERS, refuse_pooler
from rankcli.encoders.heads import Head, HeadLayer
from rankcli.encoders.layers import Block
from rankcli.encoders.weights import Weight


@ENCODERS.register("distilbert")
class DistilBert(Bert):
    """BERT's layers under other names, without segments, pooler and dropout after attention."""

    prefix: ClassVar[str] = "distilbert"
    parts: ClassVar[tuple[str, ...]] = ("embeddings.", "transformer.")
    architecture: ClassVar[str] = "DistilBertModel"
    width_key: ClassVar[str] = "dim"
    keys: ClassVar[tuple[Key, ...]] = (
        ("vocab_size", "vocab_size", None),
        ("hidden_size", "dim", None),
        ("layers", "n_layers", None),
        ("heads", "n_heads", None),
        ("intermediate_size", "hidden_dim", None),
        ("max_positions", "max_position_embeddings", 512),
        ("hidden_act", "activation", "gelu"),
        ("dropout", "dropout", 0.1),
        ("attention_dropout", "attention_dropout", 0.1),
        ("pad_token_id", "pad_token_id", 0),
        ("initializer_range", "initializer_range", 0.02),
    )
    layer: ClassVar[str] = "transformer.layer"
    stored: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "attention/qkv": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        "attention/output": ("attention.out_lin",),
        "attention/layer_norm": ("sa_layer_norm",),
        "intermediate": ("ffn.lin1",),
        "output": ("ffn.lin2",),
        "layer_norm": ("output_layer_norm",),
    }

    def values(self, settings: ConfigReader) -> dict[str, Any]:
        """Read BERT's fields but segments. The epsilon of its norms is no setting."""
        return {**super().values(settings), "type_vocab_size": 0, "layer_norm_eps": 1e-12}

    def weights(self, config: EncoderConfig, pooler: bool) -> list[Weight]:
        """Return BERT's weights. ConfigError if a pooler is wanted."""
        if pooler:
            refuse_pooler(config.kind)
        return super().weights(config, pooler)

    def head(self, config: EncoderConfig) -> Head:
        """Return the classifier: the first token's state, dense, ReLU, dropout, linear layer."""
        layers = (HeadLayer(name="pre_classifier", activation="relu", dropout=False), HeadLayer(name="classifier"))
        architecture = "DistilBertForSequenceClassification"
        return Head(architecture=architecture, pooling="cls", layers=layers, dropout_key="seq_classif_dropout")

    def block(self, config: EncoderConfig) -> Block:
        """Return the options of one layer."""
        return dataclasses.replace(super().block(config), attended_dropout=0.0)
