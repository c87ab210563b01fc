"""ModernBERT (Warner et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.encoders.base import Encoder, Pooling
from rankcli.encoders.config import SIZES, ConfigReader, EncoderConfig, Key
from rankcli.encoders.family import ENCODERS, Family, refuse_pooler
from rankcli.encoders.heads import Head, HeadLayer
from rankcli.encoders.layers import ACTIVATIONS, Block, layer_weights
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.prenorm import PreNormEncoder
from rankcli.encoders.rotary import Rotary
from rankcli.encoders.weights import Weight, norm, table

_GLOBAL, _LOCAL = "full_attention", "sliding_attention"
_KEYS: tuple[Key, ...] = (
    *SIZES,
    ("max_positions", "max_position_embeddings", 8192),
    ("layer_norm_eps", "norm_eps", 1e-5),
    ("dropout", "embedding_dropout", 0.0),
    ("attention_dropout", "attention_dropout", 0.0),
    ("inner_dropout", "mlp_dropout", 0.0),
    ("pad_token_id", "pad_token_id", 50283),
    ("initializer_range", "initializer_range", 0.02),
    ("local_attention", "local_attention", 128),
)
_CHOICES: tuple[tuple[str, str, Any, tuple[Any, ...]], ...] = (
    ("hidden_act", "hidden_activation", "gelu", tuple(ACTIVATIONS)),
    ("pooling", "classifier_pooling", "cls", ("cls", "mean")),
    ("classifier_act", "classifier_activation", "gelu", tuple(ACTIVATIONS)),
    ("classifier_bias", "classifier_bias", False, (False, True)),
)
_WITHOUT = ("norm_bias", "attention_bias", "mlp_bias")
_STORED = {
    "attention/qkv": "attn.Wqkv",
    "attention/output": "attn.Wo",
    "attention/layer_norm": "attn_norm",
    "intermediate": "mlp.Wi",
    "output": "mlp.Wo",
    "layer_norm": "mlp_norm",
}


@dataclass(frozen=True, kw_only=True)
class ModernBertConfig(EncoderConfig):
    """Besides the common fields: which layers are local, how far they see, and the bases of rotary positions.

    `local_layers` has a truth value for each layer, or is empty where every layer but each `global_every`-th is local.
    """

    inner_dropout: float = 0.0
    local_attention: int = 128
    global_every: int = 3
    local_layers: tuple[bool, ...] = ()
    global_base: float = 160000.0
    local_base: float = 10000.0
    pooling: Pooling = "cls"
    classifier_act: str = "gelu"
    classifier_bias: bool = False

    def is_local(self, layer: int) -> bool:
        """Tell whether the tokens of a layer see only their neighbours."""
        return self.local_layers[layer] if self.local_layers else layer % self.global_every > 0


@ENCODERS.register("modernbert")
class ModernBert(Family):
    """Pre-norm layers with rotary positions, gated nets and no biases, of which most see near neighbours only."""

    prefix: ClassVar[str] = "model"
    parts: ClassVar[tuple[str, ...]] = ("embeddings.", "layers.", "final_norm.")
    architecture: ClassVar[str] = "ModernBertModel"
    alike: ClassVar[tuple[str, ...]] = (
        *("kind", "hidden_size", "intermediate_size", "heads", "hidden_act", "layer_norm_eps", "local_attention"),
        *("global_every", "local_layers", "global_base", "local_base"),
    )

    def read(self, content: Mapping[str, Any], where: str) -> ModernBertConfig:
        """Read sizes, constants and the kinds of layers, in the keys of transformers 4 and 5."""
        settings = ConfigReader(content, where)
        values = {
            name: settings.number(key, default, least=0 if name in ("layers", "pad_token_id") else 1)
            for name, key, default in _KEYS
        }
        values |= {name: settings.choice(key, default, legal) for name, key, default, legal in _CHOICES}
        for key in _WITHOUT:
            settings.refuse(settings.get(key, False), f"{key}: only layers without biases are supported")
        pairs = values["hidden_size"] % (2 * values["heads"]) == 0
        settings.refuse(not pairs, "hidden_size is not a multiple of twice num_attention_heads")
        values |= _read_layers(settings, values["layers"]) | _read_bases(settings)
        settings.check()
        return ModernBertConfig(kind=content["model_type"], embedding_size=values["hidden_size"], **values)

    def write(self, config: EncoderConfig) -> dict[str, Any]:
        """Return the keys that `read` reads: both those of transformers 4 and those of transformers 5."""
        own = _own(config)
        content = {key: getattr(own, name) for name, key, _ in _KEYS}
        content |= {key: getattr(own, name) for name, key, *_ in _CHOICES} | dict.fromkeys(_WITHOUT, False)
        kinds = [_LOCAL if own.is_local(n) else _GLOBAL for n in range(own.layers)]
        bases = {_GLOBAL: own.global_base, _LOCAL: own.local_base}
        return {
            "model_type": own.kind,
            **content,
            "global_attn_every_n_layers": own.global_every,
            "global_rope_theta": own.global_base,
            "local_rope_theta": own.local_base,
            "layer_types": kinds,
            "rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()},
        }

    def weights(self, config: EncoderConfig, pooler: bool) -> list[Weight]:
        """Return the table of words, layers, of which the first has no norm before attention, and the last norm."""
        if pooler:
            refuse_pooler(config.kind)
        width = config.hidden_size
        weights = [table("embeddings/word_embeddings", "embeddings.tok_embeddings", config.vocab_size, width)]
        weights += norm("embeddings/layer_norm", "embeddings.norm", width, bias=False)
        for n in range(config.layers):
            stored = {part: (f"layers.{n}.{name}",) for part, name in _STORED.items()}
            own = layer_weights(self.block(config, n), f"layer_{n}", width, config.intermediate_size, stored)
            weights += [weight for weight in own if weight.path != "layer_0/attention/layer_norm/gamma"]
        return weights + norm("last_norm", "final_norm", width, bias=False)

    def rename(self, name: str) -> str | None:
        """Remove the prefix."""
        own = name.removeprefix(f"{self.prefix}.")
        return own if own.startswith(self.parts) else name

    def head(self, config: EncoderConfig) -> Head:
        """Return the classifier: the first state or the mean, dense, activation, norm, dropout, linear layer."""
        own = _own(config)
        dense = HeadLayer(
            name="head.dense",
            activation=own.classifier_act,
            dropout=False,
            bias=own.classifier_bias,
            norm="head.norm",
            epsilon=own.layer_norm_eps,
        )
        layers = (dense, HeadLayer(name="classifier"))
        return Head(architecture="ModernBertForSequenceClassification", pooling=own.pooling, layers=layers)

    def build(self, config: EncoderConfig, parameters: Parameters) -> Encoder:
        """Build embeddings and layers."""
        return PreNormEncoder(config, parameters, [self.block(config, n) for n in range(config.layers)])

    def block(self, config: EncoderConfig, layer: int) -> Block:
        """Return the options of a layer."""
        own = _own(config)
        local = own.is_local(layer)
        return Block(
            place="pre",
            biases=False,
            activation=own.hidden_act,
            gated=True,
            positions=Rotary(own.local_base if local else own.global_base),
            window=own.local_attention // 2 if local else None,
            epsilon=own.layer_norm_eps,
            attended_dropout=own.attention_dropout,
            inner_dropout=own.inner_dropout,
            attention_dropout=own.attention_dropout,
        )


def _own(config: EncoderConfig) -> ModernBertConfig:
    assert isinstance(config, ModernBertConfig)
    return config


def _read_layers(settings: ConfigReader, layers: int) -> dict[str, Any]:
    """Read the kinds of layers: the list of transformers 5, or the distance between global ones."""
    every = settings.number("global_attn_every_n_layers", 3)
    kinds = settings.get("layer_types")
    if kinds is None:
        return {"global_every": every}
    legal = isinstance(kinds, list) and len(kinds) == layers and all(kind in (_GLOBAL, _LOCAL) for kind in kinds)
    settings.refuse(not legal, f"layer_types must be a list of {_GLOBAL} or {_LOCAL} for each of the {layers} layers")
    local = tuple(kind == _LOCAL for kind in kinds) if legal else ()
    regular = all(is_local == (n % every > 0) for n, is_local in enumerate(local))
    return {"global_every": every, "local_layers": () if regular else local}


def _read_bases(settings: ConfigReader) -> dict[str, Any]:
    """Read the bases of rotary positions: of each kind of layer, as in transformers 5, or of the older keys."""
    bases = {_GLOBAL: settings.number("global_rope_theta", 160000.0)}
    shared = settings.content.get("local_rope_theta", "") is None  # the local base is then the global one
    bases[_LOCAL] = bases[_GLOBAL] if shared else settings.number("local_rope_theta", 10000.0)
    given = settings.get("rope_parameters", {})
    parts = {kind: given.get(kind, {}) if isinstance(given, dict) else None for kind in bases}
    for kind, part in parts.items():
        if isinstance(part, dict) and part.get("rope_type", "default") == "default":
            bases[kind] = ConfigReader(part, settings.where, settings.faults).number("rope_theta", bases[kind])
        else:
            settings.refuse(True, f"rope_parameters of {kind} {part!r}: only type default is supported")
    settings.refuse(min(bases.values()) < 1, "the base of rotary positions (rope_theta) must be at least 1")
    return {"global_base": bases[_GLOBAL], "local_base": bases[_LOCAL]}
