"""A linear mixture of signals, learnt listwise: weights near given ones that make relevant documents likely.

With features x of the K documents of a query and grades y, p = softmax(x w), and the loss of weights w is
mean over queries of - sum y / sum(y) * ln p, plus l2 * |w - prior|^2 (ListNet's top-one loss: Cao et al., ICML 2007).
It is convex, so that its minimum does not depend on where the search for it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
GRID = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)
PARTS, SEED = 5, 7  # of the inner cross-validation
_SAME = 1e-9  # a smaller difference of means is only rounding


class Lists(NamedTuple):
    """Queries with a relevant document: features [N, K, F], shares of the grades [N, K], and which places are used."""

    features: Array
    shares: Array
    used: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, features: Sequence[Array], grades: Sequence[Array]) -> Lists:
        """Put lists of different lengths together; those without a relevant document teach nothing and are left out."""
        kept = [(x, y) for x, y in zip(features, grades, strict=True) if y.sum() > 0]
        width = max((len(y) for _, y in kept), default=0)
        size = features[0].shape[1] if features else 0
        places = len(kept), width
        lists = cls(np.zeros((*places, size)), np.zeros(places), np.zeros(places, np.bool_))
        for n, (x, y) in enumerate(kept):
            lists.features[n, : len(y)], lists.shares[n, : len(y)], lists.used[n, : len(y)] = x, y / y.sum(), True
        return lists


def loss(weights: Array, lists: Lists, l2: float, prior: Array) -> tuple[float, Array]:
    """Return the loss of weights and its gradient."""
    count = max(len(lists.used), 1)
    scores = np.where(lists.used, lists.features @ weights, -np.inf)
    shifted = scores - scores.max(axis=1, keepdims=True, initial=-1e300)
    likely = np.exp(shifted)
    sums = likely.sum(axis=1, keepdims=True)
    entropy = (lists.shares * (np.log(sums) - np.where(lists.used, shifted, 0.0))).sum() / count
    gradient = np.einsum("nk,nkf->f", likely / np.maximum(sums, 1e-300) - lists.shares, lists.features) / count
    away = weights - prior
    return float(entropy + l2 * away @ away), gradient + 2 * l2 * away


def fitted(lists: Lists, l2: float, prior: Array) -> Array:
    """Return the weights with the lowest loss, found from the prior on."""
    from scipy.optimize import minimize

    found = minimize(loss, prior, (lists, l2, prior), "L-BFGS-B", jac=True, options={"gtol": 1e-9, "ftol": 1e-15})
    return np.asarray(found.x)


def chosen_l2(
    features: Mapping[str, Array], grades: Mapping[str, Array], prior: Array, value: Callable[[dict[str, Array]], float]
) -> tuple[float, dict[float, float]]:
    """Choose l2 by cross-validation over queries. Return it with the value of every one that was tried.

    `value` measures the scores of all queries, each made by weights that were learnt without it. Of equals the
    highest is chosen, which moves the weights least.
    """
    table = {l2: value(cross_validated(features, grades, prior, l2)) for l2 in GRID}
    highest = max(table.values())
    return max(l2 for l2, found in table.items() if found >= highest - _SAME), table


def cross_validated(
    features: Mapping[str, Array], grades: Mapping[str, Array], prior: Array, l2: float
) -> dict[str, Array]:
    """Return the scores of all queries, each by weights that were learnt without it."""
    scores: dict[str, Array] = {}
    for held, rest in parts_of(features):
        weights = fitted(Lists.of([features[q] for q in rest], [grades[q] for q in rest]), l2, prior)
        scores |= {qid: features[qid] @ weights for qid in held}
    return scores


def parts_of(queries: Iterable[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield parts of some queries, each with all queries that are not in it."""
    known = sorted(queries)
    qids = [known[n] for n in np.random.RandomState(SEED).permutation(len(known))]
    for part in range(PARTS):
        held = qids[part::PARTS]
        yield held, sorted(set(qids).difference(held))
