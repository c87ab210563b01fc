"""ELECTRA (Clark et al. 2020)."""

from __future__ import annotations

from typing import ClassVar

from rankcli.encoders.config import EncoderConfig
from rankcli.encoders.families.bert import Bert
from rankcli.encoders.family import ENCODERS, refuse_pooler
from rankcli.encoders.heads import Head, HeadLayer
from rankcli.encoders.weights import Weight


@ENCODERS.register("electra")
class Electra(Bert):
    """BERT's layers over embeddings that may be narrower and are then projected; no pooler."""

    prefix: ClassVar[str] = "electra"
    architecture: ClassVar[str] = "ElectraModel"
    width_key: ClassVar[str] = "embedding_size"

    def weights(self, config: EncoderConfig, pooler: bool) -> list[Weight]:
        """Return BERT's weights. ConfigError if a pooler is wanted."""
        if pooler:
            refuse_pooler(config.kind)
        return super().weights(config, pooler)

    def head(self, config: EncoderConfig) -> Head:
        """Return the classifier: the first token's state, dropout, dense, GELU, dropout, linear layer."""
        layers = (HeadLayer(name="classifier.dense", activation="gelu"), HeadLayer(name="classifier.out_proj"))
        return Head(architecture="ElectraForSequenceClassification", pooling="cls", layers=layers)
