"""The tiny models of families that tests give an adapter."""

from __future__ import annotations

import numpy as np

from rankcli.rerankers.base import Reranker

FAMILIES = ("bert", "roberta", "distilbert", "mpnet", "deberta-v3", "modernbert-mean", "albert", "electra")


def shaken(reranker: Reranker) -> Reranker:
    """Give every B values, as if the adapter was trained."""
    for path, variable in reranker.variables.items():
        if path.endswith("lora_b"):
            variable.assign(np.random.default_rng(3).normal(0, 0.3, variable.shape))
    return reranker
