"""Groups of clicked and shown documents: what is drawn how often, with which weights; the position bias."""

from __future__ import annotations

import collections
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from rankcli.errors import DataError
from rankcli.samplers._confidence import window
from rankcli.samplers._examination import estimate, posteriors
from rankcli.samplers.base import SamplerContext
from rankcli.samplers.clicks import Clicks
from rankcli.shapes import Judged, Sample

DRAWS = 12_000
SEEN = (1.0, 0.5, 0.25, 0.2, 0.05)
SESSIONS = [  # of query a: b is clicked, and d, later and for longer; of query z, which is not trained on; abandoned
    {
        "query-id": "a",
        "shown": [{"corpus-id": docid, "score": score} for docid, score in zip("abcde", (5, 4, 3, 2, 1), strict=True)],
        "events": [{"corpus-id": "d", "type": "buy", "dwell": 60}, {"corpus-id": "b", "dwell": 6}],
    },
    {"query-id": "z", "shown": ["a", "b"], "events": ["a"]},
    {"query-id": "a", "shown": ["e", "c"]},
    {"query-id": "a", "shown": ["e", "c"], "events": ["c"], "irrelevant": True},
]
Made = Callable[..., Callable[[int], Sample]]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    def sampler(*columns: str, sessions: Any = SESSIONS, **options: Any) -> Callable[[int], Sample]:
        file = tmp_path / "sessions.jsonl"
        file.write_text("".join(json.dumps(each) + "\n" for each in sessions))
        options = {"file": str(file), "propensities": SEEN, "events": {"click": 1.0, "buy": 3.0}, **options}
        judged = Judged(("a",), {"a": {"a": 1}}, {})
        return Clicks(**options).build(SamplerContext(judged, seed=5, columns=frozenset(columns)))

    return sampler


@pytest.mark.parametrize(
    ("groups", "pairs"),
    [
        ("all", ["ba", "bc", "be", "da", "dc", "de"]),
        ("skip_above", ["ba", "ba", "da", "dc"]),  # every click as often: b has one document above it, d two
        ("last_click", ["da", "dc"]),
    ],
)
def test_pairs_are_drawn_alike(groups: str, pairs: list[str], made: Made) -> None:
    sampler = made(groups=groups)
    found = collections.Counter("".join(sampler(n).docids) for n in range(DRAWS))
    wanted = collections.Counter(pairs)
    assert found.keys() == wanted.keys() and sampler(0).labels == (1.0, 0.0)
    assert chisquare([found[key] for key in wanted], [DRAWS * n / len(pairs) for n in wanted.values()]).pvalue > 1e-3


def test_a_list_is_a_click_with_all_that_was_not_clicked_every_click_once_per_pass(made: Made) -> None:
    sampler = made("weight", "position", "seen")
    found = {sampler(n).docids: sampler(n) for n in (0, 1)}
    assert set(found) == {tuple("bace"), tuple("dace")}
    columns = {"weight": (3.0, 1.0, 1.0, 1.0), "position": (4.0, 1.0, 3.0, 5.0), "seen": (0.2, 1.0, 0.25, 0.05)}
    assert found[tuple("dace")].columns == columns and found[tuple("dace")].labels == (1.0, 0.0, 0.0, 0.0)


def test_a_session_is_all_that_was_shown_and_may_have_no_click(made: Made) -> None:
    assert {made(groups="session")(n).docids for n in range(5)} == {tuple("abcde")}
    sampler = made(groups="session", abandoned=True)
    found = sorted((sampler(n).docids, sampler(n).labels) for n in range(3))
    assert found == [(tuple("abcde"), (0, 1, 0, 1, 0)), (tuple("ec"), (0, 0)), (tuple("ec"), (0, 0))]


def test_a_share_of_the_negatives_is_drawn_anew_each_time(made: Made) -> None:
    sampler = made(negatives=0.67, events={"buy": 1.0})
    found = collections.Counter(sampler(n).docids for n in range(DRAWS))
    lists = [tuple("dabc"), tuple("dabe"), tuple("dace"), tuple("dbce")]
    assert set(found) == set(lists) and chisquare([*found.values()]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("confidence", "click_b", "click_d", "unclicked"),
    [
        ("none", 1, 3, (1, 1, 1)),
        ("ips", 2, 3 * 4, (1, 1, 1)),  # 1/.5, and 1/.2 = 5 clipped at 4
        ("position", 1, 3, (1, 0.25, 0.05)),
        ("dwell", 0.2, 3, (1, 1, 1)),  # 6 s of 30, and more than 30
    ],
)
def test_weights_are_of_the_event_and_the_confidence(
    confidence: str, click_b: float, click_d: float, unclicked: tuple[float, ...], made: Made
) -> None:
    sampler = made("weight", confidence=confidence, clip=4.0)
    found = {sampler(n).docids[0]: sampler(n).columns["weight"] for n in (0, 1)}
    assert found == {"b": pytest.approx((click_b, *unclicked)), "d": pytest.approx((click_d, *unclicked))}
    pair = made("weight", confidence=confidence, clip=4.0, groups="last_click")
    least = {"a": unclicked[0], "c": unclicked[1]}
    for sample in map(pair, range(9)):
        assert sample.columns["weight"] == pytest.approx([3 * min(click_d / 3, least[sample.docids[1]])] * 2)


@pytest.mark.parametrize("place", range(10))
def test_a_lone_click_is_never_worth_nothing(place: int) -> None:
    """Embedding Studio's scaling gives 0 at places 4 and 10 of 10."""
    clicked = [k == place for k in range(10)]
    found = window([float(10 - k) for k in range(10)], clicked)
    assert all(0.05 <= value <= 1 for value in found) and (place > 4 or found[place] > 0.05)


def test_the_window_by_hand() -> None:
    """The middle of three: mean 2, 1/2 away; a third clicked."""
    found = window([2.0, 3.0, 1.0], [False, True, False])
    decay = math.exp(-3 * 2 / 3 - 0.3) + 0.25
    assert found[1] == pytest.approx((0.5 / 3 + (2 / 3) * 0.5) * decay)
    assert found[2] == pytest.approx((0.5 * 0.5 + 0.5 * 0.5) * (math.exp(-3.3) + 0.25))


def test_posteriors_and_the_next_estimate_of_two_lists() -> None:
    clicks = np.array([[1, 0, 0, 1, 0], [0, 1, 0, 0, 0]], bool)
    seen = np.array([0.9, 0.7, 0.5, 0.4, 0.3])
    attracts = 1 / (1 + np.exp(-np.array([[0.8, -0.5, 0.3, 1.2, -1.0], [0.1, 1.0, -0.3, -1.2, 0.6]])))
    examined, relevant = posteriors(seen, attracts, clicks)
    np.testing.assert_allclose(relevant[0], [1, 0.153947106, 0.402959911, 1, 0.204781242], atol=1e-8)
    next_seen = [0.905216636, 0.796118513, 0.331687297, 0.669388668, 0.18520288]
    np.testing.assert_allclose(examined.mean(0), next_seen, atol=1e-8)


def test_a_position_bias_is_found_in_lists_in_several_orders() -> None:
    draw = np.random.default_rng(3)
    seen, attracts = np.array([1, 0.6, 0.3, 0.1]), np.array([0.9, 0.5, 0.3, 0.6])
    pairs = np.argsort(draw.random((20_000, 4)), axis=1).ravel()
    places = np.tile(np.arange(4), 20_000)
    clicks = draw.random(len(pairs)) < seen[places] * attracts[pairs]
    np.testing.assert_allclose(estimate(pairs, places, clicks), seen, atol=0.02)


def test_what_cannot_be_drawn_from_is_refused(made: Made) -> None:
    with pytest.raises(DataError, match="no session of a training query has a click and a document without one"):
        made(sessions=SESSIONS[1:])
    with pytest.raises(DataError, match=r"sessions\.jsonl:1: a document has no score"):
        made(sessions=[{"query-id": "a", "shown": ["a", "b"], "events": ["a"]}], confidence="window")
    with pytest.raises(ValueError, match="abandoned goes with groups `session`"):
        made(abandoned=True)
