"""Word vectors alone, for rerankers that match words without reading their context (KNRM and its kin)."""

from __future__ import annotations

from typing import Any

from rankcli.backend import tf
from rankcli.encoders import layouts
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.weights import Weight
from rankcli.shapes import Layout


def word_weights(vocab_size: int, width: int, scale: float = 0.02, trainable: bool = True) -> list[Weight]:
    """A table [vocab_size, width], at first truncated normal with standard deviation `scale`."""
    stored = ("word_embeddings.weight",)
    return [Weight("word_embeddings", (vocab_size, width), stored, "normal", scale=scale, trainable=trainable)]


class WordEmbeddings:
    """Rows of the table among `parameters`, which hold `word_weights`."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters

    def tokens(self, layout: Layout) -> tuple[Any, Any]:
        """The vector of each token, float32 [N, M, D], and which places are tokens, bool [N, M]."""
        return tf.gather(self._parameters.exact("word_embeddings"), self.ids(layout)), layouts.token_mask(layout)

    def ids(self, layout: Layout) -> Any:
        """The token at each place, int32 [N, M]; some token behind the end of a sequence."""
        return tf.gather(tf.reshape(layout.ids, [-1]), tf.maximum(layout.places, 0))
