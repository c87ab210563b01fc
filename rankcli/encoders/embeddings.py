"""Word vectors alone, for rerankers that match words without reading their context (KNRM and its kin).

This module imports TensorFlow; component modules import it while they build.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rankcli.backend import tf
from rankcli.encoders import layouts
from rankcli.encoders.initial import variable
from rankcli.encoders.weights import Weight, values_from
from rankcli.shapes import Layout


class WordEmbeddings(tf.keras.layers.Layer):  # type: ignore[misc]
    """A table [vocab_size, width], at first truncated normal with standard deviation `scale`."""

    config = None  # no encoder of other sizes computes something else with the same table

    def __init__(self, vocab_size: int, width: int, seed: int = 42, scale: float = 0.02) -> None:
        super().__init__(name="encoder")
        path, shape = "encoder/word_embeddings", (vocab_size, width)
        self.specs = [Weight(path, shape, ("word_embeddings.weight",), "normal")]
        self.paths = {path: variable(path, shape, "normal", seed, scale)}

    def tokens(self, layout: Layout) -> tuple[Any, Any]:
        """The vector of each token, float32 [N, M, D], and which places are tokens, bool [N, M]."""
        return tf.gather(self.paths["encoder/word_embeddings"], self.ids(layout)), layouts.token_mask(layout)

    def ids(self, layout: Layout) -> Any:
        """The token at each place, int32 [N, M]; some token behind the end of a sequence."""
        return tf.gather(tf.reshape(layout.ids, [-1]), tf.maximum(layout.places, 0))

    def freeze(self) -> None:
        """Nothing: the table is looked up where it lies."""

    def tensors(self) -> dict[str, np.ndarray]:
        """The table as `word_embeddings.weight`."""
        return {"word_embeddings.weight": self.paths["encoder/word_embeddings"].numpy()}

    def assign(self, tensors: dict[str, np.ndarray]) -> None:
        """Set the table from what `tensors` returned; StorageError when name or shape differ."""
        for path, value in values_from(self.specs, tensors).items():
            self.paths[path].assign(value)
