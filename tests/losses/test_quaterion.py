"""Defects of Quaterion that losses and metrics of vectors do not have, by their numbers in docs/defects.md."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.identity import component_identity
from rankcli.config.registry import HOOKS, LOSSES
from rankcli.errors import ConfigError
from rankcli.hooks.base import HookContext
from rankcli.hooks.metrics import in_groups
from rankcli.shapes import Batch, StepContext
from tests.losses.cases import Case, batch_of, computed, drawn, outputs_of

OF_VECTORS: list[tuple[str, dict[str, Any]]] = [
    ("infonce", {"temperature": 1.0}),
    ("infonce", {"temperature": 1.0, "symmetric": True}),
    ("contrastive", {"margin": 1.5}),
    ("triplet_margin", {"mining": "hard", "margin": 2.5}),
    ("triplet_margin", {"mining": "semihard", "margin": 2.5}),
]
every = pytest.mark.parametrize(("name", "options"), OF_VECTORS, ids=str)


def at(relevant: float, other: float) -> Case:
    """A query with a relevant document and another one, at these angles from it, of length 1."""
    docs = [[math.cos(angle), math.sin(angle), 0.0] for angle in (relevant, other)]
    case = drawn(1, 2)._replace(queries=np.array([[1, 0, 0]], np.float32), docs=np.array([docs], np.float32))
    case.labels[:] = [[1, 0]]
    return case


@every
def test_quaterion_01_a_loss_falls_as_the_relevant_document_comes_nearer(name: str, options: dict[str, Any]) -> None:
    """Up to the query itself: there a cosine of the cosine, instead of the angle, has its highest value."""
    values = [computed(name, options, at(angle, 2.8))[0][0] for angle in (1.5, 1.2, 0.9, 0.6, 0.3, 0.0)]
    assert all(later < earlier for earlier, later in zip(values, values[1:], strict=False)), values


@pytest.mark.parametrize(("name", "options"), OF_VECTORS[:3], ids=str)
def test_quaterion_02_the_farther_the_relevant_document_the_more_it_is_pulled(
    name: str, options: dict[str, Any]
) -> None:
    """By the slope of the loss along the similarity, where a weight of the wrong sign shows."""
    values = [computed(name, options, at(math.acos(cosine), 1.5))[0][0] for cosine in (0.1, 0.2, 0.8, 0.9)]
    assert values[0] - values[1] > values[2] - values[3] > 0


@every
def test_quaterion_03_other_documents_are_pushed_away(name: str, options: dict[str, Any]) -> None:
    """One step along the gradient makes a near document, which is not relevant, less similar: no document that is
    mined is the relevant one itself.
    """
    case = at(0.3, 0.5)
    moved = case.docs - 0.1 * computed(name, options, case)[1][2]
    before, after = case.docs[0] @ case.queries[0], moved[0] @ case.queries[0]
    assert after[1] < before[1] - 1e-3 and after[0] > before[0]


@pytest.mark.parametrize("order", [[3, 1, 4, 0, 2], [4, 3, 2, 1, 0]])
def test_quaterion_04_metrics_of_a_batch_do_not_depend_on_the_order_of_its_groups(order: list[int]) -> None:
    case = drawn(5, 4, seed=5)
    hook = HOOKS.get("batchmetrics")(metrics=("P@1", "P@2", "RR", "Rprec")).build(HookContext({}, {}))

    def measured(case: Case) -> list[float]:
        outputs = outputs_of(*(tf.constant(part) for part in (case.scores, case.queries, case.docs)))
        return [float(total) for total, _ in hook.measure(batch_of(case), outputs, StepContext()).values()]

    assert measured(case.taken(order)) == pytest.approx(measured(case))


@pytest.mark.parametrize(
    ("name", "ranks", "wanted"),
    [
        ("RR", [[2, 3, 4], [1, 4], []], (1 / 2 + 1 + 0) / 3),
        ("Rprec", [[1, 2, 4], [2], []], (2 / 3 + 0 + 0) / 3),  # over documents it would be 2 / 4
    ],
)
def test_quaterion_05_metrics_are_means_over_queries_those_without_a_hit_included(
    name: str, ranks: list[list[int]], wanted: float
) -> None:
    """The reciprocal rank is that of the first relevant document alone."""
    labels = np.array([[float(rank in found) for rank in range(1, 6)] for found in ranks], np.float32)
    scores = np.tile(np.arange(5, 0, -1, np.float32), (3, 1))
    total, count = in_groups(name, Batch(labels, np.ones_like(labels, bool), {}, {}), tf.constant(scores))
    assert float(total / count) == pytest.approx(wanted)


@every
def test_quaterion_10_the_options_of_a_loss_are_told_in_full(name: str, options: dict[str, Any]) -> None:
    """There, one of them calls itself without end."""
    found = component_identity(LOSSES, LOSSES.get(name)(**options))
    assert found["name"] == name and all(found.get(key, value) == value for key, value in options.items())


def test_quaterion_10_names_in_the_log_are_plain_text_and_switches_are_switches(tiny) -> None:
    """There, names come from an enumeration, whose text depends on the interpreter, and every text is true."""
    names = [
        name for hook in ("metrics", "batchmetrics") for name in HOOKS.get(hook)().build(HookContext({}, {})).measures
    ]
    assert names == [
        *("train/accuracy", "train/margin", "train/RR"),
        *("train/batch/P@1", "train/batch/RR", "train/batch/Rprec"),
    ]
    assert all(type(name) is str for name in names)
    asked = tiny("biencoder", "trainer.hooks=[{name: metrics, progress_bar: false}]", "trainer.fastforward=false")
    assert asked.trainer.hooks[0].progress_bar is False and asked.trainer.fastforward is False
    with pytest.raises(ConfigError, match="fastforward"):
        tiny("biencoder", "trainer.fastforward=maybe")
