"""A family of encoders without attention: each token through one dense layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rankcli.api import (
    ConfigReader,
    Dropout,
    Encoder,
    EncoderConfig,
    Family,
    Head,
    HeadLayer,
    Layout,
    Parameters,
    Weight,
    dense,
    table,
    tf,
)


class BagEncoder(Encoder):
    """tanh(W e_t + b) of each token t."""

    def states(self, layout: Layout, dropout: Dropout | None = None, layers: Sequence[int] = (-1,)) -> list[Any]:
        words = tf.gather(self.parameters.exact("embeddings"), tf.reshape(layout.ids, [-1]))
        states = tf.cast(words, self.parameters.dtype)
        if dropout is not None:
            states = dropout.apply(states, self.config.dropout)
        last = tf.tanh(tf.matmul(states, self.parameters["dense/kernel"]) + self.parameters["dense/bias"])
        return [states if layer == 0 else last for layer in layers]


class Bag(Family):
    """Bags of words (`model_type: bag`)."""

    prefix: ClassVar[str] = "bag"
    parts: ClassVar[tuple[str, ...]] = ("embeddings.", "dense.")
    architecture: ClassVar[str] = "BagModel"
    alike: ClassVar[tuple[str, ...]] = ("kind", "hidden_size")

    def read(self, content: Mapping[str, Any], where: str) -> EncoderConfig:
        settings = ConfigReader(content, where)
        settings.refuse(content.get("ordered"), "ordered: a bag has no order")
        settings.refuse(content.get("layers", 1) != 1, "layers: only one is supported")
        width = settings.number("width")
        words = settings.number("vocab_size")
        settings.check()
        return EncoderConfig(
            kind="bag",
            vocab_size=words,
            hidden_size=width,
            embedding_size=width,
            layers=1,
            heads=1,
            intermediate_size=width,
            max_positions=1 << 20,
        )

    def write(self, config: EncoderConfig) -> dict[str, Any]:
        return {"model_type": "bag", "vocab_size": config.vocab_size, "width": config.hidden_size}

    def weights(self, config: EncoderConfig, pooler: bool) -> list[Weight]:
        width = config.hidden_size
        return [table("embeddings", "embeddings", config.vocab_size, width), *dense("dense", ("dense",), width, width)]

    def rename(self, name: str) -> str | None:
        return name.removeprefix("bag.")

    def head(self, config: EncoderConfig) -> Head:
        return Head(architecture="BagForSequenceClassification", pooling="mean", layers=(HeadLayer(name="classifier"),))

    def build(self, config: EncoderConfig, parameters: Parameters) -> Encoder:
        return BagEncoder(config, parameters)
