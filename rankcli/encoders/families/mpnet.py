"""MPNet (Song et al. 2020)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from rankcli.encoders.config import ConfigReader, EncoderConfig, Key
from rankcli.encoders.families.bert import Bert
from rankcli.encoders.families.roberta import Roberta
from rankcli.encoders.family import ENCODERS
from rankcli.encoders.layers import Block
from rankcli.encoders.relative import RelativeBias
from rankcli.encoders.weights import Weight, table

_BUCKETS, _FARTHEST = 32, 128  # constants of the model; config.json has the first, but transformers ignores it


@ENCODERS.register("mpnet")
class MPNet(Roberta):
    """RoBERTa's layers, without segments, and with logits for relative positions that all layers share."""

    prefix: ClassVar[str] = "mpnet"
    architecture: ClassVar[str] = "MPNetModel"
    shares: ClassVar[bool] = False
    alike: ClassVar[tuple[str, ...]] = Bert.alike
    keys: ClassVar[tuple[Key, ...]] = tuple(key for key in Roberta.keys if key[0] != "type_vocab_size")
    stored: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **Bert.stored,
        "attention/qkv": tuple(f"attention.attn.{part}" for part in "qkv"),
        "attention/output": ("attention.attn.o",),
        "attention/layer_norm": ("attention.LayerNorm",),
    }

    def values(self, settings: ConfigReader) -> dict[str, Any]:
        """Read RoBERTa's fields but segments."""
        settings.choice("relative_attention_num_buckets", _BUCKETS, (_BUCKETS,))
        return {**super().values(settings), "type_vocab_size": 0}

    def write(self, config: EncoderConfig) -> dict[str, Any]:
        """Return RoBERTa's keys and the number of buckets."""
        return {**super().write(config), "relative_attention_num_buckets": _BUCKETS}

    def weights(self, config: EncoderConfig, pooler: bool) -> list[Weight]:
        """Return RoBERTa's weights, and the table of relative positions. ConfigError if a pooler is wanted."""
        logits = table("positions/table", "encoder.relative_attention_bias", _BUCKETS, config.heads)
        return [*super().weights(config, pooler), logits]

    def block(self, config: EncoderConfig) -> Block:
        """Return the options of one layer."""
        return dataclasses.replace(super().block(config), positions=RelativeBias(_BUCKETS, _FARTHEST))

    def unused_rows(self, pad_token_id: int) -> int:
        """Return 2, whatever the id of padding."""
        return 2
