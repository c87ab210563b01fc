"""Word vectors alone, for rerankers that match words without reading their context, such as KNRM."""

from __future__ import annotations

from typing import Any

from rankcli.backend import tf
from rankcli.encoders import layouts
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.weights import Weight
from rankcli.shapes import Layout


def word_weights(vocab_size: int, width: int, scale: float = 0.02, trainable: bool = True) -> list[Weight]:
    """Return a table [vocab_size, width], initially truncated normal with standard deviation `scale`."""
    stored = ("word_embeddings.weight",)
    return [Weight("word_embeddings", (vocab_size, width), stored, "normal", scale=scale, trainable=trainable)]


class WordEmbeddings:
    """Looks up rows of the table in `parameters`, which must have `word_weights`; zeros for ids beyond the table."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters

    def tokens(self, layout: Layout) -> tuple[Any, Any]:
        """Return the vector of each token, float32 [N, M, D], and a mask of the tokens, bool [N, M]."""
        return self.vectors(self.ids(layout)), layouts.token_mask(layout)

    def vectors(self, ids: Any) -> Any:
        """Return the vectors of tokens, float32 [..., D]."""
        table = self._parameters.exact("word_embeddings")
        known = ids < table.shape[0]
        return tf.gather(table, tf.where(known, ids, 0)) * tf.cast(known, tf.float32)[..., None]

    def ids(self, layout: Layout) -> Any:
        """Return the token at each place, int32 [N, M]; an arbitrary token after the end of a sequence."""
        return tf.gather(tf.reshape(layout.ids, [-1]), tf.maximum(layout.places, 0))
