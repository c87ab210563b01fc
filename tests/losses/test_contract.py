"""The promises of every registered loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.shapes import StepContext
from tests.losses.cases import EVERY, IDS, batch_of, computed, drawn, outputs_of, padded

Options = dict[str, Any]
every = pytest.mark.parametrize(("name", "options"), EVERY, ids=IDS)
weighted = pytest.mark.parametrize(
    ("name", "options"), [one for one in EVERY if LOSSES.get(one[0]).weighted], ids=lambda value: str(value)
)


def close(found: Any, wanted: Any) -> None:
    """Compare group by group, relative to the largest number of the group."""
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6 * max(1.0, float(np.abs(other).max())))


@every
def test_padding_changes_neither_value_nor_gradient(name: str, options: Options) -> None:
    case = drawn(scale=[0.1, 1, 30, 500])
    alone, gradients = computed(name, options, case)
    value, more = computed(name, options, padded(case))
    assert alone.shape == (4,) and np.isfinite(alone).all() and (value[4:] == 0).all()
    close(value[:4], alone)
    close(more[0][:4, :5], gradients[0])
    close(more[1][:4], gradients[1])
    close(more[2][:4, :5], gradients[2])
    assert not more[0][4:].any() and not more[0][:, 5:].any() and not more[2][4:].any() and not more[2][:, 5:].any()


@weighted
def test_a_group_of_weight_0_costs_nothing_and_leaves_the_others_alone(name: str, options: Options) -> None:
    case = drawn()
    before, gradients = computed(name, options, case)
    case.weight[1] = 0
    after, others = computed(name, options, case)
    assert after[1] == 0 and np.array_equal(np.delete(after, 1), np.delete(before, 1))
    for one, other in zip(gradients, others, strict=True):
        if not LOSSES.get(name).in_batch:  # else its documents are still negatives of the other queries
            assert not other[1].any() and np.array_equal(np.delete(one, 1, 0), np.delete(other, 1, 0))


@weighted
def test_the_loss_is_a_weighted_sum(name: str, options: Options) -> None:
    case, draw = drawn(), np.random.default_rng(1)
    weights = draw.uniform(0, 2, (2, *case.labels.shape)).astype(np.float32)
    one, other, both = (computed(name, options, case._replace(weight=w))[0] for w in (*weights, weights.sum(0)))
    close(both, one + other)
    ones, plain = computed(name, options, case)[0], computed(name, options, case, weighted=False)[0]
    assert np.array_equal(ones, plain)
    assert np.array_equal(computed(name, options, case._replace(weight=case.weight * 4))[0], ones * 4)


@every
def test_the_order_of_the_documents_does_not_matter(name: str, options: Options) -> None:
    if name == "coupled_rank_distil":  # its noise goes by place; what does not matter is the mean over many draws
        options = {**options, "temperature": 1e-4}
    case, order = drawn(), [3, 0, 4, 1, 2]
    value, gradients = computed(name, options, case)
    moved, others = computed(name, options, case.taken(docs=order))
    close(moved, value)
    close(others[0], gradients[0][:, order])
    close(others[2], gradients[2][:, order])


@every
def test_groups_with_nothing_to_learn_are_finite(name: str, options: Options) -> None:
    """One document, nothing relevant, all relevant, all equal."""
    case = drawn()
    case.mask[0, 1:] = False
    case.labels[1:] = [[0], [1], [1]]
    case.scores[3], case.teacher[3], case.docs[3] = 0, 0, 1
    value, gradients = computed(name, options, case)
    assert np.isfinite(value).all() and all(np.isfinite(gradient).all() for gradient in gradients)
    if LOSSES.get(name).min_docs > 1 and name != "gbce":  # which has a term for every document
        assert not gradients[0][0].any()


@every
def test_scores_in_bfloat16_are_computed_with_in_float32(name: str, options: Options) -> None:
    case, loss = drawn(), LOSSES.get(name)(**options).build()
    short = [tf.cast(part, tf.bfloat16) for part in (case.scores, case.queries, case.docs)]
    scores, queries, docs = (tf.cast(part, tf.float32) for part in short)
    rounded, outputs = case._replace(scores=scores, queries=queries, docs=docs), outputs_of(scores, queries, docs)
    vectors = {key: tf.cast(rows, tf.bfloat16) for key, rows in outputs.vectors.items()}
    outputs = outputs._replace(scores=short[0], vectors=vectors)
    found = loss(batch_of(case), outputs, StepContext())
    assert found.dtype == tf.float32
    close(found.numpy(), computed(name, options, rounded)[0])


COMPILED = [one for one in EVERY if LOSSES.get(one[0]).xla]


def test_xla_compiles_losses_and_gradients() -> None:
    """All in one program, which takes a third of the time of one each."""
    case = padded(drawn())
    losses = [LOSSES.get(name)(**options).build() for name, options in COMPILED]

    @tf.function(jit_compile=True)
    def compiled(*parts: Any) -> Any:
        batch, found = batch_of(case), []
        for loss in losses:
            with tf.GradientTape() as tape:
                tape.watch(parts)
                value = loss(batch, outputs_of(*parts), StepContext())
            gradients = tape.gradient(value, parts, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            found.append((value, [tf.convert_to_tensor(gradient) for gradient in gradients]))
        return found

    found = compiled(*(tf.constant(part) for part in (case.scores, case.queries, case.docs)))
    for (name, options), (value, gradients) in zip(COMPILED, found, strict=True):
        wanted, others = computed(name, options, case)
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6, err_msg=name)
        for one, other in zip(gradients, others, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", LOSSES.builtins())
def test_a_loss_says_where_it_comes_from_and_what_a_weight_does(name: str) -> None:
    said = " ".join(LOSSES.get(name).__doc__.split())
    assert "`weight`" in said and any(f"{year}" in said for year in range(1974, 2027)), said
