"""DeBERTa, versions 2 and 3 (He et al. 2021, 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from rankcli.encoders.base import Encoder
from rankcli.encoders.config import SIZES, ConfigReader, EncoderConfig, Key
from rankcli.encoders.deberta import DebertaConfig, DebertaEncoder
from rankcli.encoders.disentangled import KEY_KERNEL, QUERY_KERNEL, Disentangled, rows_of
from rankcli.encoders.family import ENCODERS, Family, refuse_pooler
from rankcli.encoders.heads import ACTIVATIONS_OF_HEADS, Head, HeadLayer
from rankcli.encoders.layers import Block, layer_weights
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.weights import Weight, dense, norm, table

_KEYS: tuple[Key, ...] = (
    *SIZES,
    ("max_positions", "max_position_embeddings", 512),
    ("type_vocab_size", "type_vocab_size", 0),
    ("layer_norm_eps", "layer_norm_eps", 1e-7),
    ("dropout", "hidden_dropout_prob", 0.1),
    ("attention_dropout", "attention_probs_dropout_prob", 0.1),
    ("pad_token_id", "pad_token_id", 0),
    ("initializer_range", "initializer_range", 0.02),
    ("taps", "conv_kernel_size", 0),
)
_MAY_BE_ZERO = ("layers", "type_vocab_size", "pad_token_id", "taps")
_ANY = tuple(name for name in ACTIVATIONS_OF_HEADS if name)
_CHOICES: tuple[tuple[str, str, Any, tuple[Any, ...]], ...] = (
    ("relative", "relative_attention", False, (False, True)),
    ("absolute", "position_biased_input", True, (False, True)),
    ("shared", "share_att_key", False, (False, True)),
    ("hidden_act", "hidden_act", "gelu", ("gelu", "gelu_new", "relu")),
    ("taps_act", "conv_act", "tanh", _ANY),
    ("pooler_act", "pooler_hidden_act", "gelu", _ANY),
)
_STORED = {
    "attention/qkv": tuple(f"attention.self.{part}_proj" for part in ("query", "key", "value")),
    "attention/output": ("attention.output.dense",),
    "attention/layer_norm": ("attention.output.LayerNorm",),
    "intermediate": ("intermediate.dense",),
    "output": ("output.dense",),
    "layer_norm": ("output.LayerNorm",),
}
_KERNELS = {QUERY_KERNEL: "pos_query_proj", KEY_KERNEL: "pos_key_proj"}


@ENCODERS.register("deberta-v2")
class DebertaV2(Family):
    """BERT's layers with disentangled attention: words and relative positions have products of their own."""

    prefix: ClassVar[str] = "deberta"
    parts: ClassVar[tuple[str, ...]] = ("embeddings.", "encoder.")
    architecture: ClassVar[str] = "DebertaV2Model"
    alike: ClassVar[tuple[str, ...]] = (
        *("kind", "hidden_size", "embedding_size", "intermediate_size", "heads", "max_positions", "hidden_act"),
        *("layer_norm_eps", "asked", "relative", "absolute", "shared", "normed", "buckets", "max_relative"),
        *("taps", "taps_act"),
    )

    def read(self, content: Mapping[str, Any], where: str) -> DebertaConfig:
        """Read sizes, constants, and the use of positions."""
        settings = ConfigReader(content, where)
        values = {
            name: settings.number(key, default, least=0 if name in _MAY_BE_ZERO else 1) for name, key, default in _KEYS
        }
        values |= {name: settings.choice(key, default, legal) for name, key, default, legal in _CHOICES}
        width = values["hidden_size"]
        values["embedding_size"] = settings.number("embedding_size", width)
        head, rest = divmod(width, values["heads"])
        settings.refuse(rest, "hidden_size is not a multiple of num_attention_heads")
        for key, only in (("attention_head_size", head), ("pooler_hidden_size", width), ("conv_groups", 1)):
            value = settings.get(key, only)
            settings.refuse(value != only, f"{key} {value!r}: with these sizes only {only} is supported")
        settings.refuse(values["taps"] and values["taps"] % 2 == 0, "conv_kernel_size is not odd")
        values |= _read_positions(settings, values["max_positions"])
        settings.check()
        return DebertaConfig(kind=content["model_type"], **values)

    def write(self, config: EncoderConfig) -> dict[str, Any]:
        """Return the keys that `read` reads."""
        own = _own(config)
        content = {key: getattr(own, name) for name, key, _ in _KEYS}
        content |= {key: getattr(own, name) for name, key, *_ in _CHOICES}
        return {
            "model_type": own.kind,
            **content,
            "embedding_size": own.embedding_size,
            "pooler_hidden_size": own.hidden_size,
            "pos_att_type": list(own.asked),
            "position_buckets": own.buckets or -1,
            "max_relative_positions": own.max_relative,
            "norm_rel_ebd": "layer_norm" if own.normed else "none",
        }

    def weights(self, config: EncoderConfig, pooler: bool) -> list[Weight]:
        """Return tables, a projection for narrow embeddings, relative positions, a convolution, and layers."""
        if pooler:
            refuse_pooler(config.kind)
        own, width = _own(config), config.hidden_size
        sizes = {"word": own.vocab_size, "position": own.max_positions, "token_type": own.type_vocab_size}
        sizes["position"] *= own.absolute
        tables = {f"embeddings{{}}{part}_embeddings": rows for part, rows in sizes.items() if rows}
        weights = [table(name.format("/"), name.format("."), n, own.embedding_size) for name, n in tables.items()]
        if own.embedding_size != width:
            weights += dense("embeddings_project", ("embeddings.embed_proj",), own.embedding_size, width, bias=False)
        weights += norm("embeddings/layer_norm", "embeddings.LayerNorm", width)
        weights += _position_weights(own) + _convolution_weights(own)
        return weights + [weight for n in range(own.layers) for weight in self._layer_weights(own, n)]

    def rename(self, name: str) -> str | None:
        """Remove the prefix."""
        own = name.removeprefix(f"{self.prefix}.")
        return own if own.startswith(self.parts) else name

    def unused(self, config: EncoderConfig) -> tuple[str, ...]:
        """Return the table of absolute positions, which checkpoints without these positions may have all the same."""
        return () if _own(config).absolute else ("embeddings.position_embeddings.",)

    def head(self, config: EncoderConfig) -> Head:
        """Return the classifier: the first token's state, dense, activation, dropout, linear layer."""
        pooler = HeadLayer(name="pooler.dense", activation=_own(config).pooler_act, dropout=False)
        layers, name = (pooler, HeadLayer(name="classifier")), "DebertaV2ForSequenceClassification"
        return Head(architecture=name, pooling="cls", layers=layers, dropout_key="cls_dropout")

    def build(self, config: EncoderConfig, parameters: Parameters) -> Encoder:
        """Build embeddings and equal layers."""
        return DebertaEncoder(_own(config), parameters, self.block(_own(config)))

    def block(self, config: DebertaConfig) -> Block:
        """Return the options of one layer."""
        distance = np.arange(-config.max_positions, config.max_positions + 1)
        positions = Disentangled(
            terms=config.terms,
            rows=tuple(rows_of(distance, config.buckets, config.farthest).tolist()),
            heads=config.heads,
            scale=config.scale,
            shared=config.shared,
            dropout=config.dropout,
            epsilon=config.layer_norm_eps,
        )
        return Block(
            activation=config.hidden_act,
            positions=positions if config.terms else None,
            scale=config.scale,
            epsilon=config.layer_norm_eps,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
        )

    def _layer_weights(self, config: DebertaConfig, n: int) -> list[Weight]:
        at = f"encoder.layer.{n}"
        stored = {part: tuple(f"{at}.{name}" for name in names) for part, names in _STORED.items()}
        block, width = Block(), config.hidden_size
        weights = layer_weights(block, f"layer_{n}", width, config.intermediate_size, stored)
        names = [f"{at}.attention.self.{name}" for term, name in _KERNELS.items() if term in config.terms]
        own = names and not config.shared
        return weights + (dense(f"layer_{n}/attention/positions", tuple(names), width, width) if own else [])


def _own(config: EncoderConfig) -> DebertaConfig:
    assert isinstance(config, DebertaConfig)
    return config


def _position_weights(config: DebertaConfig) -> list[Weight]:
    """Return the table of relative positions, and its norm."""
    if not config.relative:
        return []
    reach, width = config.buckets or config.farthest, config.hidden_size
    rows = table("positions/table", "encoder.rel_embeddings", 2 * reach, width)
    return [rows, *(norm("positions/norm", "encoder.LayerNorm", width) if config.normed else [])]


def _convolution_weights(config: DebertaConfig) -> list[Weight]:
    if not config.taps:
        return []
    width, name = config.hidden_size, "encoder.conv.conv"
    kernel = Weight("convolution/kernel", (config.taps, width, width), (f"{name}.weight",), "normal", transposed=True)
    bias = Weight("convolution/bias", (width,), (f"{name}.bias",), "zeros")
    return [kernel, bias, *norm("convolution/layer_norm", "encoder.conv.LayerNorm", width)]


def _read_positions(settings: ConfigReader, positions: int) -> dict[str, Any]:
    """Read the terms of relative positions, and how their distances share rows of the table."""
    terms, norms = (_words(settings.get(key, [])) for key in ("pos_att_type", "norm_rel_ebd"))
    settings.refuse(not {*terms} <= {*_KERNELS}, f"pos_att_type {terms}: supported are c2p and p2c")
    settings.refuse(not {*norms} <= {"none", "layer_norm"}, f"norm_rel_ebd {norms}: supported are none and layer_norm")
    most = settings.number("max_relative_positions", -1, least=-1)
    buckets = max(0, settings.number("position_buckets", -1, least=-1))
    fits = 0 < buckets // 2 < (most if most > 0 else positions) - 1
    settings.refuse(buckets and not fits, "position_buckets must be at least 2, and fewer than twice the distances")
    found = {"asked": tuple(sorted({*terms}, reverse=True)), "normed": "layer_norm" in norms}
    return {**found, "buckets": buckets, "max_relative": most}


def _words(value: Any) -> list[str]:
    """Return the words of a list, or of a text with bars between them."""
    return [str(word).strip() for word in (value if isinstance(value, list) else str(value).split("|"))]
