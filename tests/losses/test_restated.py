"""Losses against second statements of their formulas in NumPy, with float64 and central differences."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.registry import LOSSES
from rankcli.shapes import Batch, Outputs, StepContext
from tests.losses.cases import Case, batch_of, computed, drawn, outputs_of, padded

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "losses.json").read_text())


def softplus(x: Any) -> Any:
    return np.logaddexp(0, x)


def gradient_of(value: Callable[[Any], float], at: Any) -> Any:
    """Central differences of a function of an array."""
    found = np.zeros(at.shape)
    for place in np.ndindex(at.shape):
        step = np.zeros(at.shape)
        step[place] = 1e-5
        found[place] = (value(at + step) - value(at - step)) / 2e-5
    return found


def agree(name: str, options: dict[str, Any], case: Case, stated: Callable[[Case], Any]) -> None:
    """The loss of each group is as stated, and so are the gradients of their sum."""
    value, gradients = computed(name, options, case)
    exact = Case(*(part if part.dtype == bool else part.astype(np.float64) for part in case))
    np.testing.assert_allclose(value, stated(exact), atol=1e-5)
    for part, gradient in zip(("scores", "queries", "docs"), gradients, strict=True):
        wanted = gradient_of(lambda x, part=part: np.sum(stated(exact._replace(**{part: x}))), getattr(exact, part))
        np.testing.assert_allclose(gradient, wanted, atol=2e-5, err_msg=part)


def by_group(of: Callable[..., float]) -> Callable[[Case], Any]:
    """Apply a function of the scores, labels and weights of a group's real documents to every group."""
    return lambda case: [
        of(case.scores[g][m], case.labels[g][m], case.weight[g][m]) if m.any() else 0.0 for g, m in enumerate(case.mask)
    ]


def weighed(seed: int = 3) -> Case:
    case = padded(drawn(3, 4, seed=seed))
    case.weight[:] = np.random.default_rng(seed).uniform(0.5, 2, case.weight.shape)
    return case


def test_gbce() -> None:
    def stated(s: Any, y: Any, w: Any) -> float:
        rate = min(1.0, (y <= 0).sum() / 10)
        power = rate * (0.5 * (1 - 1 / rate) + 1 / rate)  # as the paper has it
        likelihood = np.where(y > 0, -power * np.log1p(np.exp(-s)), -np.log1p(np.exp(s)))
        return -np.dot(w, likelihood) / len(s)

    agree("gbce", {"calibration": 0.5, "pool": 10}, weighed(), by_group(stated))


def test_gbce_of_more_negatives_than_the_pool_has_is_the_crossentropy() -> None:
    case = drawn()
    found, plain = computed("gbce", {"pool": 1}, case)[0], computed("crossentropy", {}, case)[0]
    np.testing.assert_allclose(found, plain, rtol=1e-6)


def test_gbce_without_calibration_is_the_crossentropy() -> None:
    case = drawn()
    found, plain = computed("gbce", {"calibration": 0.0}, case)[0], computed("crossentropy", {}, case)[0]
    np.testing.assert_allclose(found, plain, rtol=1e-6)


def test_pairwise_crossentropy() -> None:
    def stated(s: Any, y: Any, w: Any) -> float:
        pairs = [(i, j) for i in range(len(s)) for j in range(len(s)) if y[i] > 0 >= y[j]]
        return np.mean([w[i] * (softplus(-s[i]) + softplus(s[j])) / 2 for i, j in pairs])

    agree("pairwise_crossentropy", {}, weighed(), by_group(stated))


def in_order(s: Any, y: Any, weights: Any) -> float:
    """Plackett-Luce of the order by label, equal ones by place."""
    t = s[np.lexsort((np.arange(len(y)), -y))]
    return sum(w * (np.logaddexp.reduce(t[i:]) - t[i]) for i, w in enumerate(weights))


def places(count: int) -> Any:
    return 2.0 ** (count - np.arange(1, count + 1)) - 1


def test_plistmle_without_ties_is_the_golden_formula_over_the_sum_of_its_weights() -> None:
    given = {key: np.array(rows) for key, rows in GOLDEN["input"].items()}
    for g, m in enumerate(given["mask"] > 0):
        stated = in_order(given["scores"][g][m], given["labels"][g][m], places(m.sum()))
        assert stated == pytest.approx(GOLDEN["plistmle"]["per_group"][g])
    case = padded(drawn(3, 4))
    case.labels[:3, :4] = [[3, 0, 1, 2], [0, 2, 5, 1], [4, 3, 2, 1]]
    agree("plistmle", {}, case, by_group(lambda s, y, w: in_order(s, y, places(len(s)) / places(len(s)).sum())))


def test_plistmle_of_equal_labels_shares_the_weights_of_their_places() -> None:
    """Places 2 and 3 of four weigh 3 and 1 of 11: 2 each. Both are set against all that are not above them."""

    def stated(s: Any, y: Any, w: Any) -> float:
        top, tail = np.logaddexp.reduce(s), np.logaddexp.reduce(s[1:])
        return (7 * (top - s[0]) + 2 * (tail - s[1]) + 2 * (tail - s[2])) / 11

    case = drawn(2, 4)
    case.labels[:] = [3, 1, 1, 0]
    agree("plistmle", {}, case, by_group(stated))


def test_the_weight_of_a_pair_is_that_of_its_better_document() -> None:
    """Labels 2 > 1 > 0; only document 1 has a weight, so only its pair with document 2 counts."""
    case = drawn(1, 3)
    case.labels[:], case.weight[:] = [2, 1, 0], [0, 1, 0]
    s = case.scores[0]
    assert computed("ranknet", {}, case)[0] == pytest.approx(softplus(s[2] - s[1]) / 3, rel=1e-5)
    assert computed("ranknet", {"reduction": "sum"}, case)[0] == pytest.approx(softplus(s[2] - s[1]), rel=1e-5)


def test_equal_scores_of_a_teacher_share_their_rank() -> None:
    case = drawn(1, 3)
    case.scores[:], case.teacher[:] = [1, 0, -1], [5, 2, 2]
    soft = 1 + (1 / (1 + np.exp([[1, 2], [-1, 1], [-2, -1]]))).sum(1)
    wanted = np.mean((soft - [1, 2.5, 2.5]) ** 2)
    assert computed("adr_mse", {"discount": "none"}, case)[0] == pytest.approx(wanted, rel=1e-5)


def test_a_round_of_neural_ndcg_divides_by_the_sums_of_columns_and_then_of_rows() -> None:
    def stated(s: Any, y: Any, w: Any) -> float:
        n, place = len(s), np.arange(1, len(s) + 1)
        order = np.exp((n + 1 - 2 * place)[:, None] * s - np.abs(s[:, None] - s).sum(1))
        order /= order.sum(1, keepdims=True)
        order /= order.sum(0, keepdims=True)
        order /= order.sum(1, keepdims=True)
        best = np.dot(np.sort(2**y - 1)[::-1], 1 / np.log2(1 + place))
        return -np.dot(order @ (w * (2**y - 1)), 1 / np.log2(1 + place)) / best

    agree("neural_ndcg", {"rounds": 1}, weighed(), by_group(stated))


# Vectors ------------------------------------------------------------------------------------------------------------


def cosine(a: Any, b: Any) -> Any:
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def among(case: Case, g: int) -> list[tuple[int, int]]:
    """The places of the documents that are negatives of group g's query."""
    return [(h, k) for h, k in np.argwhere(case.mask) if h != g or case.labels[h, k] <= 0]


def over_relevant(of: Callable[[Case, int, int], float]) -> Callable[[Case], Any]:
    """The weighted mean of a function of the relevant documents of every group."""

    def stated(case: Case) -> Any:
        places = [np.flatnonzero(case.mask[g] & (case.labels[g] > 0)) for g in range(len(case.mask))]
        terms = [[case.weight[g, k] * of(case, g, k) for k in found] for g, found in enumerate(places)]
        return [np.mean(found) if found else 0.0 for found in terms]

    return stated


def infonce(case: Case, g: int, k: int) -> float:
    others = [case.queries[g] @ case.docs[place] for place in among(case, g)]
    own = case.queries[g] @ case.docs[g, k]
    return np.logaddexp.reduce([own, *others]) - own


def symmetric(case: Case, g: int, k: int) -> float:
    case = case._replace(queries=case.queries / 0.7)
    found = [case.queries[h] @ case.docs[g, k] for h in np.flatnonzero(case.mask.any(1))]
    return (infonce(case, g, k) + np.logaddexp.reduce(found) - case.queries[g] @ case.docs[g, k]) / 2


def triplet(case: Case, g: int, k: int, mining: str) -> float:
    own = 1 - cosine(case.queries[g], case.docs[g, k])
    found = sorted(1 - cosine(case.queries[g], case.docs[place]) for place in among(case, g))
    if mining == "semihard":
        found = [d for d in found if d > own] or found[::-1]
    return max(0.0, own - found[0] + 0.4)


def test_infonce() -> None:
    agree("infonce", {"temperature": 1.0}, weighed(), over_relevant(infonce))


def test_infonce_of_both_directions() -> None:
    agree("infonce", {"temperature": 0.7, "symmetric": True}, weighed(), over_relevant(symmetric))


@pytest.mark.parametrize("mining", ["hard", "semihard"])
def test_triplet_margin(mining: str) -> None:
    stated = over_relevant(lambda case, g, k: triplet(case, g, k, mining))
    agree("triplet_margin", {"mining": mining, "margin": 0.4}, weighed(), stated)


def test_contrastive() -> None:
    def stated(case: Case) -> Any:
        found = np.zeros(case.mask.shape)
        for g, k in np.argwhere(case.mask):
            d = 1 - cosine(case.queries[g], case.docs[g, k])
            found[g, k] = case.weight[g, k] * (d if case.labels[g, k] > 0 else max(0.0, 0.5 - d)) ** 2 / 2
        return found.sum(1) / np.maximum(case.mask.sum(1), 1)

    agree("contrastive", {}, weighed(), stated)


def test_infonce_of_unit_vectors_with_the_usual_scale() -> None:
    """Two queries with a document each: -log softmax of 20 x the cosines .8 and .6 is 0.018150."""
    queries, docs = np.array([[1, 0], [0, 1]], np.float32), np.array([[[0.8, 0.6]], [[0.6, 0.8]]], np.float32)
    case = drawn(2, 1)._replace(queries=queries, docs=docs)
    assert computed("infonce", {}, case)[0] == pytest.approx([0.018150] * 2, abs=1e-6)


def known(case: Case, step: StepContext, **keys: Any) -> Any:
    """The losses with some of the keys replaced."""
    batch, loss = batch_of(case), LOSSES.get("infonce")(temperature=1.0).build()
    batch = batch._replace(keys=batch.keys._replace(**{name: tf.constant(of, tf.int64) for name, of in keys.items()}))
    return loss(batch, outputs_of(*(tf.constant(part) for part in (case.scores, case.queries, case.docs))), step)


def without(case: Case, *places: tuple[int, int]) -> float:
    """The loss of group 0, whose first document is relevant, without some of its negatives."""
    others = [case.queries[0] @ case.docs[place] for place in among(case, 0) if place not in places]
    own = case.queries[0] @ case.docs[0, 0]
    return float(np.logaddexp.reduce([own, *others]) - own)


def test_quaterion_09_a_document_relevant_to_the_same_query_in_another_group_is_no_negative() -> None:
    """Wherever it is: (2, 0) is relevant to query 5, (1, 1) is the same document, drawn as a negative of query 6."""
    found = known(drawn(3, 2), StepContext(), query=[5, 6, 5], doc=[[1, 2], [3, 4], [4, 6]])
    assert float(found[0]) == pytest.approx(without(drawn(3, 2), (2, 0), (1, 1)), rel=1e-5)


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_document_that_is_judged_relevant_to_another_query_is_no_negative_of_it(symmetric: bool) -> None:
    """(1, 0) is judged relevant to query 0, so neither is a negative of the other, in either direction."""
    case, loss = drawn(3, 1), LOSSES.get("infonce")(temperature=1.0, symmetric=symmetric).build()
    keys = batch_of(case).keys
    judged = sorted([7, -7, int(keys.query[0] + keys.doc[1, 0])])
    outputs = outputs_of(*(tf.constant(part) for part in (case.scores, case.queries, case.docs)))
    found = loss(batch_of(case), outputs, StepContext(judged=tf.constant(judged, tf.int64)))
    logits = case.queries @ case.docs[:, 0].T
    logits[0, 1] = -np.inf
    wanted = np.logaddexp.reduce(logits, axis=1) - np.diag(logits)
    if symmetric:
        wanted = (wanted + np.logaddexp.reduce(logits, axis=0) - np.diag(logits)) / 2
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert float(loss(batch_of(case), outputs, StepContext())[0]) > float(found[0]) + 1e-3


@pytest.mark.parametrize(("name", "options"), [("infonce", {"symmetric": True}), ("triplet_margin", {})])
def test_replicas_that_share_a_batch_compute_what_one_does(name: str, options: dict[str, Any]) -> None:
    """The document (3, 1) is the one that is relevant in group 0: a negative of neither, on either replica."""
    case = padded(drawn(4, 3))
    case.queries[3], case.docs[3, 1] = case.queries[0], case.docs[0, 0]
    halves = [case.taken(groups) for groups in (slice(0, 2), slice(2, 4))]
    told: list[list[Any]] = []
    for n, half in enumerate(halves):  # first, what each of them hands to the others
        told.append([])
        computed(name, options, half, StepContext(lambda rows, n=n: told[n].append(rows) or rows, replica=n))
    for n, half in enumerate(halves):
        turn = iter(zip(*told, strict=True))
        step = StepContext(lambda rows, turn=turn: tf.concat(next(turn), axis=0), replica=n)
        found, _ = computed(name, options, half, step)
        np.testing.assert_allclose(found, computed(name, options, case)[0][2 * n : 2 * n + 2], rtol=1e-5)


def test_a_batch_without_negatives_costs_nothing() -> None:
    case = drawn(1, 1)
    for name in ("infonce", "triplet_margin"):
        value, gradients = computed(name, {}, case)
        assert value.tolist() == [0.0] and not any(gradient.any() for gradient in gradients)


# Values of other systems' formulas ---------------------------------------------------------------------------------

PAIRS, TAUGHT = [[2.0, 1.0], [0.5, 1.5], [3.0, -1.0]], [[4.0, 1.0], [2.0, 2.5], [5.0, -2.0]]
LISTS, ORDERS = [[2.0, 0.0, 1.0], [0.0, 1.0, -1.0]], [[3.0, 1.0, 2.0], [1.0, 2.0, 3.0]]


@pytest.mark.parametrize(
    ("name", "scores", "teacher", "mean"),
    [
        ("ranknet", PAIRS, TAUGHT, 0.548224),
        ("pairwise_hinge", PAIRS, TAUGHT, 0.666667),
        ("pairwise_crossentropy", PAIRS, TAUGHT, 0.662921),
        ("margin_mse", PAIRS, TAUGHT, 4.416667),
        ("kl", PAIRS, TAUGHT, 0.070761),
        ("ranknet_distil", LISTS, ORDERS, 0.751150),
        ("adr_mse", LISTS, ORDERS, 0.593377),
    ],
)
def test_means_that_were_worked_out_from_other_systems(name: str, scores: Any, teacher: Any, mean: float) -> None:
    labels = tf.constant([[1.0, *[0.0] * (len(scores[0]) - 1)]] * len(scores))
    batch = Batch(labels, tf.ones_like(labels, tf.bool), {"teacher": tf.constant(teacher)}, {})
    found = LOSSES.get(name)().build()(batch, Outputs(tf.constant(scores)), StepContext())
    assert float(tf.reduce_mean(found)) == pytest.approx(mean, abs=1e-6)


def test_thresholds_rise() -> None:
    for thresholds in ((), (1.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match="thresholds must be"):
            LOSSES.get("ordinal")(thresholds=thresholds)


def test_clickem() -> None:
    """The chance of relevance is a constant, and the gradient that of the likelihood of the clicks."""
    golden = {"scores": [0.8, -0.5, 0.3, 1.2, -1.0], "clicks": [1, 0, 0, 1, 0], "seen": [0.9, 0.7, 0.5, 0.4, 0.3]}
    scores, clicks, seen = (tf.constant([values], tf.float32) for values in golden.values())
    loss = LOSSES.get("clickem")().build()
    batch = Batch(clicks, tf.ones_like(clicks, tf.bool), {"seen": seen}, {})
    with tf.GradientTape() as tape:
        tape.watch(scores)
        value = loss(batch, Outputs(scores), StepContext())
    np.testing.assert_allclose(value, [0.487388774], atol=1e-6)
    s, c, t = (np.array(values, float) for values in golden.values())

    def likelihood(s: Any) -> float:
        chance = t / (1 + np.exp(-s))
        return -np.mean(c * np.log(chance) + (1 - c) * np.log(1 - chance))

    np.testing.assert_allclose(tape.gradient(value, scores)[0], gradient_of(likelihood, s), atol=1e-5)


def test_sigmoid_margin() -> None:
    def stated(s: Any, y: Any, w: Any) -> float:
        pairs = [(i, j) for i in range(len(s)) for j in range(len(s)) if y[i] > y[j]]
        return np.mean([w[i] / (1 + np.exp((s[i] - s[j] - 0.1) / 0.5)) for i, j in pairs])

    agree("sigmoid_margin", {"margin": 0.1, "temperature": 0.5}, weighed(), by_group(stated))


def test_sigmoid_margin_of_three_pairs_by_hand() -> None:
    """Differences .3, -.1 and .05, confidences 1, .5 and 1."""
    scores = tf.constant([[0.3, 0.0], [-0.1, 0.0], [0.05, 0.0]])
    labels, weight = tf.constant([[1.0, 0.0]] * 3), tf.constant([[1.0, 1.0], [0.5, 0.5], [1.0, 1.0]])
    loss = LOSSES.get("sigmoid_margin")(margin=0.1).build()
    value = loss(Batch(labels, labels >= 0, {"weight": weight}, {}), Outputs(scores), StepContext())
    assert float(np.mean(value)) == pytest.approx(0.412527, abs=1e-6)


def test_coupled_rank_distil_without_noise_is_the_likelihood_of_the_teachers_order() -> None:
    def stated(case: Case) -> Any:
        found = []
        for g, real in enumerate(case.mask):
            order = np.argsort(-case.teacher[g][real]) if real.any() else []
            s, w = case.scores[g][real][order], case.weight[g][real][order]
            found.append(sum(w[i] * (np.logaddexp.reduce(s[i:]) - s[i]) for i in range(min(3, len(s)))))
        return found

    agree("coupled_rank_distil", {"temperature": 1e-4, "topk": 3, "samples": 2}, weighed(), stated)


def test_orders_are_drawn_as_plackett_and_luce_say_and_anew_in_each_step() -> None:
    """With topk 1 the loss is log(2 + e) less the score of the document that is drawn first: 0, 0 or 1."""
    scores, teacher = tf.constant([[0.0, 0.0, 1.0]] * 2000), tf.constant([[1.0, 0.0, 0.5]] * 2000)
    batch = Batch(scores, tf.ones_like(scores, tf.bool), {"teacher": teacher}, {})
    loss = LOSSES.get("coupled_rank_distil")(samples=8, topk=1).build()
    first, again, other = (loss(batch, Outputs(scores), StepContext(number=step)).numpy() for step in (4, 4, 5))
    chance = np.exp(0.5) / (np.e + 1 + np.exp(0.5))
    error = 5 * np.sqrt(chance * (1 - chance) / 16000)
    assert np.mean(first) == pytest.approx(np.log(2 + np.e) - chance, abs=error)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    replica = loss(batch, Outputs(scores), StepContext(number=4, replica=1)).numpy()
    assert not np.array_equal(first, replica) and abs(np.corrcoef(first, replica)[0, 1]) < 0.1
