"""A generalised additive model: a net of its own for each feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS, option
from rankcli.config.types import NonNegativeInt, PositiveInt
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.weights import Weight
from rankcli.errors import ConfigError
from rankcli.rerankers._features import features_width
from rankcli.rerankers.base import Reranker, RerankerContext, RerankerOptions
from rankcli.shapes import Batch, Outputs


@RERANKERS.register("gam")
@dataclass(frozen=True, kw_only=True)
class GAM(RerankerOptions):
    """The sum of a score for each feature, that a small net of its own computes, so that each can be drawn as a curve
    (Zhuang et al., "Interpretable Ranking with Generalized Additive Models", WSDM 2021).

    With `context` features, which come last and are the same for all documents of a query, each of these has a net,
    too, whose softmax over the other features says how much their scores count; the softmaxes are added.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("features",)
    default_extractor: ClassVar[str] = "features"
    tiny: ClassVar[Mapping[str, Any]] = {"layers": (3,), "context": 1}
    layers: tuple[PositiveInt, ...] = option((16, 8), "sizes of the hidden layers of each net")
    context: NonNegativeInt = option(0, "how many of the features, the last ones, are of the query")

    def check(self, ctx: RerankerContext) -> None:
        """Raise ConfigError where the extractor makes no numbers, or too few."""
        if self.context >= (width := features_width(ctx)):
            what = f"of {width} features, {self.context} cannot be of the query: none is left of the document"
            raise ConfigError(what, where="reranker.context")

    def build(self, ctx: RerankerContext) -> GAMModel:
        """Make the nets."""
        self.check(ctx)
        return GAMModel(self, ctx)


class GAMModel(Reranker):
    """All nets of a kind as one: kernels [nets, inputs, outputs]."""

    def __init__(self, options: GAM, ctx: RerankerContext) -> None:
        self._context, self._depth = options.context, len(options.layers) + 1
        self._of_docs = features_width(ctx) - options.context
        weights = _nets("features", self._of_docs, [1, *options.layers, 1])
        if options.context:
            weights += _nets("context", options.context, [1, *options.layers, self._of_docs])
        self.parameters = {"nets": ctx.parameters(weights)}

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute the scores."""
        x = batch.fields["features"]
        return Outputs(tf.reduce_sum(self.parts(x) * self.shares(x), -1))

    def parts(self, x: Any) -> Any:
        """Return the score of each feature of documents, [B, K, F], from all features."""
        return self._computed("features", x[..., : self._of_docs])[..., 0]

    def shares(self, x: Any) -> Any:
        """Return how much the score of each feature counts, [B, K, F]."""
        if not self._context:
            return tf.ones_like(x)
        return tf.reduce_sum(tf.nn.softmax(self._computed("context", x[..., self._of_docs :])), -2)

    def save_config(self, directory: Path) -> None:
        """Write nothing: the extractor saves what is known of the features."""

    def _computed(self, kind: str, x: Any) -> Any:
        """Return the output of each net for its feature, [B, K, nets, outputs]."""
        nets, x = self.parameters["nets"], x[..., None]
        for n in range(self._depth):
            path = f"{kind}/{n}"
            x = tf.einsum("bkfi,fio->bkfo", x, nets.exact(f"{path}/kernel")) + nets.exact(f"{path}/bias")
            x = tf.nn.relu(x) if n + 1 < self._depth else x
        return x


def _nets(kind: str, count: int, sizes: list[int]) -> list[Weight]:
    weights = []
    for n, (inputs, outputs) in enumerate(pairwise(sizes)):
        kernel, bias = (count, inputs, outputs), (count, outputs)
        weights.append(Weight(f"{kind}/{n}/kernel", kernel, (f"{kind}.{n}.weight",), "normal", scale=inputs**-0.5))
        weights.append(Weight(f"{kind}/{n}/bias", bias, (f"{kind}.{n}.bias",), "zeros"))
    return weights
