"""Losses against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.losses.tfranking import RANDOM, TEMPERATURES
from rankcli.shapes import Batch, Outputs, StepContext


def batch(
    labels: list[list[float]], mask: list[list[bool]] | None = None, weights: list[list[float]] | None = None
) -> Batch:
    shape = np.shape(labels)
    return Batch(
        labels=tf.constant(labels, tf.float32),
        doc_mask=tf.constant(mask if mask is not None else np.ones(shape, bool)),
        columns={"weight": tf.constant(weights if weights is not None else np.ones(shape), tf.float32)},
        fields={},
    )


def loss_of(name: str, group: Batch, scores: Any, **options: object) -> Any:
    return LOSSES.get(name)(**options).build()(group, Outputs(scores), StepContext())


def value(name: str, group: Batch, scores: list[list[float]], **options: object) -> list[float]:
    return loss_of(name, group, tf.constant(scores, tf.float32), **options).numpy().tolist()


def test_hinge_of_a_triplet_is_the_margin_less_the_lead() -> None:
    assert value("pairwise_hinge", batch([[1, 0], [1, 0]]), [[0.75, 0.5], [3.0, 1.0]]) == pytest.approx([0.75, 0.0])


def test_hinge_averages_over_the_pairs_that_differ_in_label() -> None:
    # pairs (0,1): 1-(1-0)=0, (0,2): 1-(1-2)=2, (1,2): 1-(0-2)=3; labels 2 > 1 > 0
    assert value("pairwise_hinge", batch([[2, 1, 0]]), [[1.0, 0.0, 2.0]]) == pytest.approx([5 / 3])


def test_defect_08_crossentropy_is_divided_by_the_number_of_documents_once() -> None:
    expected = [(math.log(1 + math.exp(-2)) + math.log(1 + math.exp(0.5))) / 2, math.log(1 + math.exp(-1))]
    group = batch([[1, 0], [1, 0]], mask=[[True, True], [True, False]])
    assert value("crossentropy", group, [[2.0, 0.5], [1.0, 9.0]]) == pytest.approx(expected, rel=1e-6)


def test_lce_is_the_negative_log_of_the_softmax_at_the_positive() -> None:
    expected = -math.log(math.exp(1) / (math.exp(1) + math.exp(2) + math.exp(0)))
    assert value("lce", batch([[1, 0, 0]]), [[1.0, 2.0, 0.0]]) == pytest.approx([expected], rel=1e-6)


def test_lce_of_equal_scores_is_ln_k() -> None:
    assert value("lce", batch([[1] + [0] * 7]), [[0.3] * 8]) == pytest.approx([math.log(8)], rel=1e-6)


def test_lce_spreads_the_target_over_several_positives() -> None:
    log_z = math.log(math.exp(1) + math.exp(2) + 1)
    expected = -(0.25 * (1 - log_z) + 0.75 * (2 - log_z))
    assert value("lce", batch([[1, 3, 0]]), [[1.0, 2.0, 0.0]]) == pytest.approx([expected], rel=1e-6)


def test_tfr_softmax_equals_lce_with_one_positive() -> None:
    group, scores = batch([[0, 1, 0], [1, 0, 0]]), [[0.1, 0.5, -2.0], [1.0, 1.0, 1.0]]
    assert value("tfr", group, scores, key="softmax_loss") == pytest.approx(value("lce", group, scores), rel=1e-5)


def test_tfr_hinge_sums_over_pairs() -> None:
    assert value("tfr", batch([[1, 0, 0]]), [[0.3, 0.1, 0.9]], key="pairwise_hinge_loss") == pytest.approx([0.8 + 1.6])


@pytest.mark.parametrize("key", sorted(TEMPERATURES))
def test_every_tfr_key_gives_one_finite_value_per_group(key: str) -> None:
    found = value("tfr", batch([[1, 0, 0], [0, 1, 0]]), [[0.1, 0.5, -2.0], [1.0, 0.2, 0.4]], key=key)
    assert len(found) == 2 and all(map(math.isfinite, found))


@pytest.mark.parametrize("key", sorted({*TEMPERATURES} - RANDOM | {"list_mle_loss"}))
def test_padding_is_neutral_in_tfr_losses(key: str) -> None:
    """Labels without ties, which ListMLE would shuffle."""
    scores = [[0.3, 1.1, -0.4], [-30, -25, -28], [30, 25, 28], [500, 495, 502], [-500, -490, -495]]
    alone = value("tfr", batch([[3, 0, 1]] * 5), scores, key=key)
    mask = [[True, True, True, False, False]] * 5 + [[False] * 5]
    wide = value(
        "tfr", batch([[3, 0, 1, 9, 9]] * 6, mask=mask), [[*row, 7, 7] for row in [*scores, [1, 2, 3]]], key=key
    )
    assert wide[:5] == pytest.approx(alone, rel=1e-5) and wide[5] == 0


def test_tfr_temperature_divides_the_scores() -> None:
    group = batch([[1, 0]])
    assert value("tfr", group, [[1.0, 0.0]], key="softmax_loss", temperature=0.5) == pytest.approx(
        value("tfr", group, [[2.0, 0.0]], key="softmax_loss"), rel=1e-6
    )


def test_an_unknown_key_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="approx_ndcg_loss"):
        LOSSES.get("tfr")(key="no_loss")


def test_mse_is_the_mean_of_the_squared_differences_from_the_grades() -> None:
    group = batch([[3, 0], [1, 0]], mask=[[True, True], [True, False]])
    assert value("mse", group, [[1.0, -1.0], [0.5, 9.0]]) == pytest.approx([(4 + 1) / 2, 0.25])


PAIRS, PAIR_LABELS = [[2.0, 1.0], [0.5, 1.5], [3.0, -1.0]], [[1, 0], [1, 0], [1, 0]]


def test_bce_of_labels_0_and_1_is_the_crossentropy() -> None:
    """The mean over three pairs is 0.662921."""
    found = value("bce", batch(PAIR_LABELS), PAIRS)
    assert np.mean(found) == pytest.approx(0.662921, abs=1e-6)
    assert found == pytest.approx(value("crossentropy", batch(PAIR_LABELS), PAIRS), rel=1e-5)


def test_bce_has_the_label_itself_for_a_target() -> None:
    """-(.25 log sigmoid(2) + .75 log sigmoid(-2)) is log(1 + e^-2) + 1.5; a grade above 1 is 1, one below 0 is 0."""
    softplus = math.log(1 + math.exp(-2))
    group = batch([[0.25], [3], [-1]])
    assert value("bce", group, [[2.0]] * 3) == pytest.approx([softplus + 1.5, softplus, softplus + 2], rel=1e-6)


def test_bce_of_certain_scores_is_finite_and_so_is_its_gradient() -> None:
    scores = tf.Variable([[1e4, -1e4], [1e4, -1e4]])
    with tf.GradientTape() as tape:
        loss = loss_of("bce", batch([[1, 0], [0, 1]]), scores)
    assert np.isfinite(loss).all() and np.isfinite(tape.gradient(loss, scores)).all()
    assert float(loss[0]) < 1e-3 and float(loss[1]) > 10


def test_a_weight_scales_its_documents_part_of_a_mean() -> None:
    """Squares 4, 1 and 9 with weights 1, 0.5 and 2, divided by the number of documents; padding has no part."""
    group = batch([[3, 0, 1, 0]], mask=[[True, True, True, False]], weights=[[1, 0.5, 2, 7]])
    assert value("mse", group, [[1.0, -1.0, 4.0, 5.0]]) == pytest.approx([(4 + 0.5 + 18) / 3])


def test_a_weight_scales_its_relevant_documents_part_of_lce() -> None:
    """Targets 1/4 and 3/4 as without weights; the weight of a document that is not relevant does nothing."""
    log_z = math.log(math.exp(1) + math.exp(2) + 1)
    expected = -(2 * 0.25 * (1 - log_z) + 0.5 * 0.75 * (2 - log_z))
    found = value("lce", batch([[1, 3, 0]], weights=[[2, 0.5, 9]]), [[1.0, 2.0, 0.0]])
    assert found == pytest.approx([expected], rel=1e-6)


def test_a_weight_scales_the_pairs_of_its_more_relevant_document() -> None:
    """Pairs (0,1): 0, (0,2): 2 with weight 3, (1,2): 3 with weight 0.5."""
    group = batch([[2, 1, 0]], weights=[[3, 0.5, 9]])
    assert value("pairwise_hinge", group, [[1.0, 0.0, 2.0]]) == pytest.approx([(2 * 3 + 3 * 0.5) / 3])
