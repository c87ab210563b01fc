"""Gates of query words: the share of each word in the score of its query (Guo et al., 2016, section 3.3)."""

from __future__ import annotations

from typing import Literal, TypeAlias

from rankcli.backend import tf
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.weights import Weight
from rankcli.rerankers._words import Pairs, Words, shares
from rankcli.rerankers.ops import Tensor

GateType: TypeAlias = Literal["IDF", "TV"]


def gate_weights(kind: GateType, dim: int) -> list[Weight]:
    """Return the weights of a gate: one factor of idf, or one of each number of a word's vector."""
    if kind == "IDF":
        return [Weight("gate", (1,), ("gate",), "ones")]
    return [Weight("gate", (dim,), ("gate",), "normal")]


class Gate:
    """softmax_i(w idf_i) or softmax_i(w . q_i) over the words of a query, with the weight at `gate` of `head`."""

    def __init__(self, kind: GateType, words: Words, head: Parameters) -> None:
        self._head = head
        self._idf = words.idf("reranker.gateType") if kind == "IDF" else None

    def __call__(self, pairs: Pairs) -> Tensor:
        """Return the shares of the words of each document's query, [N, Lq]."""
        weight = self._head.exact("gate")
        if self._idf is None:
            logits = tf.tensordot(pairs.query.vectors, weight, 1)
        else:
            logits = weight * tf.gather(self._idf, pairs.query.ids)
        return shares(pairs.of_query(logits), pairs.query_mask)
