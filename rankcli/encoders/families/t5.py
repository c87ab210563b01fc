"""The encoder of T5 (Raffel et al. 2020), versions 1.0 and 1.1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.encoders.base import Encoder
from rankcli.encoders.config import ConfigReader, EncoderConfig
from rankcli.encoders.family import ENCODERS, Family, refuse_pooler
from rankcli.encoders.heads import Head, HeadLayer
from rankcli.encoders.layers import ACTIVATIONS, Block, layer_weights
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.prenorm import PreNormEncoder
from rankcli.encoders.relative import RelativeBias
from rankcli.encoders.weights import Weight, norm, table

# Our field, its key in config.json, and the value of a config.json without the key (None: the key is needed).
_KEYS: tuple[tuple[str, str, Any], ...] = (
    ("vocab_size", "vocab_size", None),
    ("hidden_size", "d_model", None),
    ("head_width", "d_kv", None),
    ("intermediate_size", "d_ff", None),
    ("layers", "num_layers", None),
    ("heads", "num_heads", None),
    ("buckets", "relative_attention_num_buckets", 32),
    ("farthest", "relative_attention_max_distance", 128),
    ("max_positions", "n_positions", 512),
    ("dropout", "dropout_rate", 0.1),
    ("layer_norm_eps", "layer_norm_epsilon", 1e-6),
    ("pad_token_id", "pad_token_id", 0),
)
_GATED = "gated-"
_FORWARD = {**{name: name for name in ACTIVATIONS}, f"{_GATED}gelu": "gelu_new", f"{_GATED}silu": "silu"}
_STORED = {
    "attention/qkv": tuple(f"0.SelfAttention.{part}" for part in "qkv"),
    "attention/output": ("0.SelfAttention.o",),
    "attention/layer_norm": ("0.layer_norm",),
    "intermediate": ("1.DenseReluDense.wi",),
    "output": ("1.DenseReluDense.wo",),
    "layer_norm": ("1.layer_norm",),
}
_GATES = ("1.DenseReluDense.wi_0", "1.DenseReluDense.wi_1")


@dataclass(frozen=True, kw_only=True)
class T5Config(EncoderConfig):
    """Besides the common fields: the size of a head, the buckets of distances, and the kind of feed-forward net."""

    head_width: int
    buckets: int = 32
    farthest: int = 128
    forward: str = "relu"


@ENCODERS.register("t5")
class T5(Family):
    """Pre-norm layers without biases, whose attention knows positions by a number for each distance.

    The decoder of a checkpoint is not used. Hugging Face has no classifier over this encoder alone; ours is a linear
    layer over the mean of the tokens' states, which sentence-transformers opens.
    """

    prefix: ClassVar[str] = ""
    parts: ClassVar[tuple[str, ...]] = ("shared.", "encoder.block.", "encoder.final_layer_norm.")
    architecture: ClassVar[str] = "T5EncoderModel"
    alike: ClassVar[tuple[str, ...]] = (
        *("kind", "hidden_size", "head_width", "intermediate_size", "heads", "buckets", "farthest", "forward"),
        "layer_norm_eps",
    )

    def read(self, content: Mapping[str, Any], where: str) -> T5Config:
        """Read sizes, constants, and the kind of feed-forward net."""
        settings = ConfigReader(content, where)
        values = {
            name: settings.number(key, default, least=0 if name == "pad_token_id" else 1)
            for name, key, default in _KEYS
        }
        values["forward"] = settings.choice("feed_forward_proj", "relu", tuple(_FORWARD))
        buckets = values["buckets"]
        settings.refuse(buckets < 4, "relative_attention_num_buckets must be at least 4")
        settings.refuse(
            values["farthest"] <= buckets // 4, "relative_attention_max_distance must be above a quarter of the buckets"
        )
        settings.check()
        return T5Config(
            kind=content["model_type"],
            embedding_size=values["hidden_size"],
            hidden_act=_FORWARD[values["forward"]],
            type_vocab_size=0,
            attention_dropout=values["dropout"],
            **values,
        )

    def write(self, config: EncoderConfig) -> dict[str, Any]:
        """Return the keys that `read` reads."""
        own = _own(config)
        content = {key: getattr(own, name) for name, key, _ in _KEYS}
        return {"model_type": own.kind, **content, "feed_forward_proj": own.forward, "is_encoder_decoder": False}

    def weights(self, config: EncoderConfig, pooler: bool) -> list[Weight]:
        """Return the table of words, that of positions, layers, and the last norm."""
        if pooler:
            refuse_pooler(config.kind)
        own, width = _own(config), config.hidden_size
        positions = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias"
        weights = [table("embeddings/word_embeddings", "shared", own.vocab_size, width)]
        weights += [table("positions/table", positions, own.buckets, own.heads)]
        parts = _STORED | ({"intermediate": _GATES} if self.block(own).gated else {})
        for n in range(own.layers):
            stored = {part: tuple(f"encoder.block.{n}.layer.{name}" for name in names) for part, names in parts.items()}
            attended = own.heads * own.head_width
            weights += layer_weights(self.block(own), f"layer_{n}", width, own.intermediate_size, stored, attended)
        return weights + norm("last_norm", "encoder.final_layer_norm", width, bias=False)

    def rename(self, name: str) -> str | None:
        """Remove the prefix of classifiers; None for the copy of the table of words."""
        own = name.removeprefix("transformer.")
        if own == "encoder.embed_tokens.weight":
            return None
        return own if own.startswith(self.parts) else name

    def head(self, config: EncoderConfig) -> Head:
        """Return the classifier: the mean of the states, dropout, linear layer."""
        layers = (HeadLayer(name="2_Dense.linear"),)
        return Head(architecture=self.architecture, pooling="mean", layers=layers, chained=True)

    def build(self, config: EncoderConfig, parameters: Parameters) -> Encoder:
        """Build embeddings and equal layers."""
        return PreNormEncoder(config, parameters, [self.block(_own(config))] * config.layers, config.dropout)

    def block(self, config: T5Config) -> Block:
        """Return the options of one layer."""
        return Block(
            norm="rms",
            place="pre",
            biases=False,
            activation=config.hidden_act,
            gated=config.forward.startswith(_GATED),
            positions=RelativeBias(config.buckets, config.farthest),
            scale=1.0,
            epsilon=config.layer_norm_eps,
            dropout=config.dropout,
            inner_dropout=config.dropout,
            attention_dropout=config.dropout,
        )


def _own(config: EncoderConfig) -> T5Config:
    assert isinstance(config, T5Config)
    return config
