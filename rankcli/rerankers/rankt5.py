"""RankT5 with the encoder alone: a linear layer over its pooled states."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from rankcli.config.registry import RERANKERS, option
from rankcli.config.types import Rate
from rankcli.encoders.build import Pretrained
from rankcli.encoders.config import EncoderConfig
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.family import family_of
from rankcli.encoders.heads import Head, HeadLayer
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.classifier import ClassifierOptions, SequenceClassifier
from rankcli.rerankers.foreign import write_json
from rankcli.rerankers.ops import per_document
from rankcli.shapes import Batch, Outputs


@RERANKERS.register("rankt5")
@dataclass(frozen=True, kw_only=True)
class RankT5(ClassifierOptions):
    """A linear layer over the encoder's states of `Query: query Document: document` (RankT5-Enc, Zhuang et al., SIGIR
    2023): over that of the first token (`cls`), or over their `mean`.

    The paper's encoder is T5's, which `pretrained` names. An encoder of another family is read alike.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    default_extractor: ClassVar[str] = "prompted"
    dropout: Rate = option(0.1, "dropout rate before the linear layer")
    pooling: Literal["cls", "mean"] = option("cls", "the state of the first token, or the mean of all")

    def build(self, ctx: RerankerContext) -> RankT5Model:
        """Load pretrained weights or make random ones."""
        return RankT5Model(self, ctx)


class RankT5Model(SequenceClassifier):
    """One sequence per document. The linear layer has no bias, which would change no order."""

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute the scores."""
        pair = batch.fields["pair"]
        return Outputs(per_document(self.logits(pair.layout, dropout), pair.owner, batch.doc_mask))

    def head_of(self, options: Any, config: EncoderConfig, given: Pretrained | None) -> Head:
        """Return the linear layer, whatever classifier the directory has."""
        layers = (HeadLayer(name="rankt5.linear", bias=False),)
        architecture = family_of(config.kind).architecture
        return Head(architecture=architecture, pooling=options.pooling, layers=layers, chained=True)

    def save_config(self, directory: Path) -> None:
        """Write the `config.json` of the encoder. No other tool computes the score, as none writes these prompts."""
        config = self._encoder.config
        content = {"architectures": [self._head.architecture], **family_of(config.kind).write(config)}
        write_json(directory / "config.json", content)
