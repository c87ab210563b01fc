"""Hugging Face's sequence classifiers on top of an encoder: pooled vectors to one logit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from rankcli.backend import tf
from rankcli.encoders.base import Pooling
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.layers import ACTIVATIONS, normed
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.weights import Weight, dense, norm

Tensor: TypeAlias = Any

ACTIVATIONS_OF_HEADS: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda x: x,
    **ACTIVATIONS,
    "tanh": lambda x: tf.tanh(x),
}


@dataclass(frozen=True, kw_only=True)
class HeadLayer:
    """A dense layer, stored as `name`, with dropout before it, and an activation and perhaps a normalisation after it.

    `norm` is the stored name of the normalisation. The layer has `width` results, by default as many as inputs.
    """

    name: str
    activation: str = ""
    dropout: bool = True
    bias: bool = True
    norm: str = ""
    norm_bias: bool = False
    epsilon: float = 1e-5
    width: int = 0

    @property
    def path(self) -> str:
        """The path of its variables."""
        return self.name.replace(".", "/")

    @property
    def norm_path(self) -> str:
        """The path of the variables of its normalisation."""
        return self.norm.replace(".", "/")


@dataclass(frozen=True, kw_only=True)
class Head:
    """A classifier of one label: a pooling, and dense layers, of which the last makes the logit.

    `architecture` and `dropout_key` are the names of the classifier and of its dropout rate in config.json. A `chained`
    one is stored apart from an encoder without head, as modules of sentence-transformers. A family with another kind of
    classifier derives from this class. It computes in float32.
    """

    architecture: str
    pooling: Pooling
    layers: tuple[HeadLayer, ...]
    dropout_key: str = "classifier_dropout"
    chained: bool = False

    def weights(self, width: int) -> list[Weight]:
        """Return the weights of all layers over vectors [N, `width`]."""
        weights = []
        for layer in self.layers:
            size = 1 if layer is self.layers[-1] else layer.width or width
            weights += dense(layer.path, (layer.name,), width, size, layer.bias)
            weights += norm(layer.norm_path, layer.norm, size, layer.norm_bias) if layer.norm else []
            width = size
        return weights

    def logits(self, parameters: Parameters, vectors: Tensor, rate: float, dropout: Dropout | None) -> Tensor:
        """Return the logits, float32 [N], of pooled vectors [N, D]."""
        for n, layer in enumerate(self.layers, start=1):
            if layer.dropout and dropout is not None:
                vectors = dropout.fold(n).apply(vectors, rate)
            vectors = tf.matmul(vectors, parameters.exact(f"{layer.path}/kernel"))
            if layer.bias:
                vectors += parameters.exact(f"{layer.path}/bias")
            vectors = ACTIVATIONS_OF_HEADS[layer.activation](vectors)
            vectors = normed(parameters, layer.norm_path, vectors, layer.epsilon, dropout is not None)
        return vectors[:, 0]
