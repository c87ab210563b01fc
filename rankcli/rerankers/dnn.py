"""Dense layers over the features of each document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS, option
from rankcli.config.types import PositiveInt, Rate
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.heads import ACTIVATIONS_OF_HEADS
from rankcli.encoders.weights import Weight
from rankcli.rerankers._features import features_width
from rankcli.rerankers._words import layer_weights
from rankcli.rerankers.base import Reranker, RerankerContext, RerankerOptions
from rankcli.shapes import Batch, Outputs


@RERANKERS.register("dnn")
@dataclass(frozen=True, kw_only=True)
class DNN(RerankerOptions):
    """A net over the features of a query with a document: dense layers, an activation and dropout after each, and a
    linear one.

    Without batch normalisation, which TF-Ranking's net has by default: its means would depend on the other queries of a
    batch. The extractor scales features instead. Without hidden layers it is a linear model.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("features",)
    default_extractor: ClassVar[str] = "features"
    tiny: ClassVar[Mapping[str, Any]] = {"layers": (5, 4)}
    layers: tuple[PositiveInt, ...] = option((64, 32), "sizes of the hidden layers")
    activation: Literal["relu", "gelu", "silu", "tanh"] = option("relu", "the function after each hidden layer")
    dropout: Rate = option(0.3, "dropout rate after each hidden layer")

    def check(self, ctx: RerankerContext) -> None:
        """Raise ConfigError where the extractor makes no numbers."""
        features_width(ctx)

    def build(self, ctx: RerankerContext) -> DNNModel:
        """Make the layers."""
        return DNNModel(self, ctx)


class DNNModel(Reranker):
    """The layers, with random weights."""

    def __init__(self, options: DNN, ctx: RerankerContext) -> None:
        self._activation = ACTIVATIONS_OF_HEADS[options.activation]
        self._rate, self._hidden = options.dropout, [f"hidden_{n}" for n in range(len(options.layers))]
        weights: list[Weight] = []
        width = features_width(ctx)
        for path, size in zip([*self._hidden, "output"], [*options.layers, 1], strict=True):
            weights += layer_weights(path, width, size)
            width = size
        self.parameters = {"net": ctx.parameters(weights)}

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute the scores."""
        x = batch.fields["features"]
        for n, path in enumerate(self._hidden):
            x = self._activation(self._layer(path, x))
            x = x if dropout is None else dropout.fold(n).apply(x, self._rate)
        return Outputs(self._layer("output", x)[..., 0])

    def save_config(self, directory: Path) -> None:
        """Write nothing: the extractor saves what is known of the features."""

    def _layer(self, path: str, x: Any) -> Any:
        net = self.parameters["net"]
        return tf.tensordot(x, net.exact(f"{path}/kernel"), 1) + net.exact(f"{path}/bias")
