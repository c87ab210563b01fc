"""Losses against values and gradients that another program computed in NumPy with float64 (`tests/golden/losses.json`).

Three groups; the last has no relevant document. The gradients are central differences. Padding places hold junk.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.shapes import Batch, Outputs, StepContext

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "losses.json").read_text())
COMPUTED: dict[str, tuple[str, dict[str, Any]]] = {
    "mse": ("mse", {}),
    "bce": ("crossentropy", {}),
    "ordinal_4": ("ordinal", {}),
    "hinge": ("pairwise_hinge", {}),
    "ranknet": ("ranknet", {}),
    "ranknet_sum": ("ranknet", {"reduction": "sum"}),
    "pairwise_mse": ("pairwise_mse", {}),
    "softmax_normalised": ("lce", {}),
    "softmax_gain": ("softmax_gain", {}),
    "poly1_softmax": ("poly1", {}),
    "listnet": ("listnet", {}),
    "listmle_ties": ("listmle", {}),
    "approx_ndcg_0.1": ("approx_ndcg", {"temperature": 0.1}),
    "approx_ndcg_1": ("approx_ndcg", {}),
    "approx_mrr_0.1": ("approx_mrr", {"temperature": 0.1}),
    "approx_mrr_1": ("approx_mrr", {}),
    "lambdarank": ("lambdarank", {}),
    "ndcgloss2": ("ndcgloss2", {}),
    "ndcgloss2pp": ("ndcgloss2pp", {}),
    "neuralsort_ce": ("neuralsort", {}),
    "neuralsort_ndcg": ("neural_ndcg", {"rounds": 0}),
    "neural_ndcg": ("neural_ndcg", {}),
    "margin_mse": ("margin_mse", {"pairs": "teacher"}),
    "margin_mse_by_label": ("margin_mse", {}),
    "kl": ("kl", {}),
    "kl_temperature_2": ("kl", {"temperature": 2.0}),
    "ranknet_distil": ("ranknet_distil", {}),
    "adr_mse": ("adr_mse", {}),
    "rank_mse": ("adr_mse", {"discount": "none"}),
    "rank_mse_reciprocal": ("adr_mse", {"discount": "reciprocal"}),
}


def value_and_gradient(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    given = {key: np.array(rows, np.float32) for key, rows in GOLDEN["input"].items()}
    scores, columns = tf.constant(given["scores"]), {"teacher": tf.constant(given["teacher"])}
    batch = Batch(tf.constant(given["labels"]), tf.constant(given["mask"] > 0), columns, {})
    with tf.GradientTape() as tape:
        tape.watch(scores)
        value = LOSSES.get(name)(**options).build()(batch, Outputs(scores), StepContext())
    return value.numpy(), tape.gradient(value, scores).numpy()


@pytest.mark.parametrize("golden", COMPUTED)
def test_value_and_gradient_are_those_of_the_other_program(golden: str) -> None:
    value, gradient = value_and_gradient(*COMPUTED[golden])
    np.testing.assert_allclose(value, GOLDEN[golden]["per_group"], atol=1e-5)
    np.testing.assert_allclose(gradient, GOLDEN[golden]["gradient"], atol=1e-5)


def test_every_golden_value_is_compared() -> None:
    assert set(GOLDEN) == {"input", "plistmle", *COMPUTED}  # plistmle: in test_restated.py
