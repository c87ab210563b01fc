"""Hugging Face's sequence classifiers on top of an encoder: pooled vectors to one logit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from rankcli.backend import tf
from rankcli.encoders.base import Pooling
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.weights import Weight, dense

Tensor: TypeAlias = Any

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda x: x,
    "gelu": lambda x: tf.nn.gelu(x, approximate=False),
    "relu": lambda x: tf.nn.relu(x),
    "tanh": lambda x: tf.tanh(x),
}


@dataclass(frozen=True, kw_only=True)
class HeadLayer:
    """A dense layer, stored as `name`, with dropout before it and an activation after it."""

    name: str
    activation: str = ""
    dropout: bool = True

    @property
    def path(self) -> str:
        """The path of its variables."""
        return self.name.replace(".", "/")


@dataclass(frozen=True, kw_only=True)
class Head:
    """A classifier of one label: a pooling, and dense layers, of which the last makes the logit.

    `architecture` and `dropout_key` are the names of the classifier and of its dropout rate in config.json. A family
    with another kind of classifier derives from this class. It computes in float32.
    """

    architecture: str
    pooling: Pooling
    layers: tuple[HeadLayer, ...]
    dropout_key: str = "classifier_dropout"

    def weights(self, width: int) -> list[Weight]:
        """Return the weights of all layers over vectors [N, `width`]."""
        outputs = [width] * (len(self.layers) - 1) + [1]
        layers = zip(self.layers, outputs, strict=True)
        return [weight for one, size in layers for weight in dense(one.path, (one.name,), width, size)]

    def logits(self, parameters: Parameters, vectors: Tensor, rate: float, dropout: Dropout | None) -> Tensor:
        """Return the logits, float32 [N], of pooled vectors [N, D]."""
        for n, layer in enumerate(self.layers, start=1):
            if layer.dropout and dropout is not None:
                vectors = dropout.fold(n).apply(vectors, rate)
            kernel, bias = (parameters.exact(f"{layer.path}/{part}") for part in ("kernel", "bias"))
            vectors = _ACTIVATIONS[layer.activation](tf.matmul(vectors, kernel) + bias)
        return vectors[:, 0]
