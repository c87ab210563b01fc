"""RoBERTa (Liu et al. 2019), XLM-R (Conneau et al. 2020) and CamemBERT (Martin et al. 2020)."""

from __future__ import annotations

from typing import Any, ClassVar

from rankcli.encoders.config import ConfigReader, EncoderConfig, Key
from rankcli.encoders.families.bert import Bert, with_defaults
from rankcli.encoders.family import ENCODERS, refuse_pooler
from rankcli.encoders.heads import Head, HeadLayer
from rankcli.encoders.weights import Weight


@ENCODERS.register("roberta")
class Roberta(Bert):
    """BERT's layers; positions are counted from the row after that of padding; no pooler."""

    prefix: ClassVar[str] = "roberta"
    architecture: ClassVar[str] = "RobertaModel"
    keys: ClassVar[tuple[Key, ...]] = with_defaults(Bert.keys, pad_token_id=1)
    alike: ClassVar[tuple[str, ...]] = (*Bert.alike, "pad_token_id")

    def values(self, settings: ConfigReader) -> dict[str, Any]:
        """Read BERT's fields. The table has rows for padding, and for the tokens before it, which no sequence uses."""
        values = super().values(settings)
        longest = values["max_positions"] - self.unused_rows(values["pad_token_id"])
        settings.refuse(longest < 1, "max_position_embeddings leaves no position after that of padding")
        return {**values, "max_positions": longest}

    def write(self, config: EncoderConfig) -> dict[str, Any]:
        """Return BERT's keys, with all rows of the position table."""
        rows = self.first_position(config) + config.max_positions
        return {**super().write(config), "max_position_embeddings": rows}

    def weights(self, config: EncoderConfig, pooler: bool) -> list[Weight]:
        """Return BERT's weights. ConfigError if a pooler is wanted."""
        if pooler:
            refuse_pooler(config.kind)
        return super().weights(config, pooler)

    def head(self, config: EncoderConfig) -> Head:
        """Return the classifier: the first token's state, dropout, dense, tanh, dropout, linear layer."""
        layers = (HeadLayer(name="classifier.dense", activation="tanh"), HeadLayer(name="classifier.out_proj"))
        architecture = f"{self.architecture.removesuffix('Model')}ForSequenceClassification"
        return Head(architecture=architecture, pooling="cls", layers=layers)

    def first_position(self, config: EncoderConfig) -> int:
        """Return the row after that of padding."""
        return self.unused_rows(config.pad_token_id)

    def unused_rows(self, pad_token_id: int) -> int:
        """Return the number of rows of the position table that no sequence uses."""
        return pad_token_id + 1


@ENCODERS.register("xlm-roberta")
class XlmRoberta(Roberta):
    """RoBERTa over a vocabulary of many languages."""

    architecture: ClassVar[str] = "XLMRobertaModel"


@ENCODERS.register("camembert")
class Camembert(Roberta):
    """RoBERTa over a French vocabulary."""

    architecture: ClassVar[str] = "CamembertModel"
