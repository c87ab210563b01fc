"""The loss on held-out groups: which groups, what loss, when to stop."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from rankcli.config.registry import LOSSES, SAMPLERS
from rankcli.errors import ConfigError, DataError
from rankcli.listeners.base import Moment, Vote
from rankcli.listeners.heldout import HeldOut, HeldOutLoss
from rankcli.samplers._negatives import Negatives
from tests.listeners.fakes import BAD, GOOD, MIDDLE, Faked, context


def heldout(out: Path, training: Faked, sampler: Any = None, **options: Any) -> HeldOutLoss:
    sampler, loss = sampler or SAMPLERS.get("LCE")(nneg=2), LOSSES.get("lce")()
    made = HeldOut(**{"groups": 4, **options}).build(context(out, sampler=sampler, loss=loss))
    assert isinstance(made, HeldOutLoss)
    made.after_initialisation(training)  # type: ignore[arg-type]
    return made


def test_the_groups_are_drawn_from_the_scored_candidates_and_stay_the_same(tmp_path: Path) -> None:
    listener = heldout(tmp_path, Faked())
    groups = listener.drawn(GOOD)
    assert groups == listener.drawn(BAD) == heldout(tmp_path, Faked()).drawn(MIDDLE)
    positive, others = {"q1": "a", "q2": "d"}, {"q1": {"b", "c"}, "q2": {"e", "f"}}
    assert sorted(group.qid for group in groups) == ["q1", "q1", "q2", "q2"]
    for group in groups:
        assert group.docids[0] == positive[group.qid] and set(group.docids[1:]) == others[group.qid]
        assert group.labels == (1.0, 0.0, 0.0)


def test_the_loss_is_the_mean_over_the_groups(tmp_path: Path) -> None:
    """Both queries have the scores 3, 2, 1 with the relevant document first; then last."""
    training = Faked()
    listener = heldout(tmp_path, training)
    total = math.log(math.exp(1) + math.exp(2) + math.exp(3))
    for iteration, (training.now, score) in enumerate([(GOOD, 3), (BAD, 1)]):
        found = listener.validate(Moment(iteration, 0))
        assert (found.kind, found.name) == ("heldout", "heldout")
        assert found.means["loss"] == pytest.approx(total - score, rel=1e-6)
    assert listener.result()["best"] == {"iter": 0, "value": pytest.approx(total - 3, rel=1e-6)}


def test_groups_of_a_mixture_have_different_sizes(tmp_path: Path) -> None:
    """The groups of one document cost nothing, the others what both have with the scores 3, 2, 1."""
    sampler = SAMPLERS.get("mixture")(samplers=(SAMPLERS.get("LCE")(nneg=2), SAMPLERS.get("pair")()))
    training = Faked()
    training.now = GOOD
    found = heldout(tmp_path, training, sampler).validate(Moment(0, 0)).means["loss"]
    assert found == pytest.approx((math.log(math.exp(1) + math.exp(2) + math.exp(3)) - 3) / 2, rel=1e-6)


def test_it_votes_to_stop_when_the_loss_no_longer_falls(tmp_path: Path) -> None:
    training, votes = Faked(), []
    listener = heldout(tmp_path, training, patience=2)
    for iteration, training.now in enumerate([BAD, GOOD, BAD]):
        listener.validate(Moment(iteration, 0))
        votes.append(listener.vote())
    resumed = heldout(tmp_path, training, patience=2)
    resumed.restore(listener.state())
    resumed.validate(Moment(3, 0))
    assert [*votes, resumed.vote()] == [Vote.DONT_STOP, Vote.DONT_STOP, Vote.DONT_STOP, Vote.STOP]
    assert resumed.reason() == "it: the held-out loss has not fallen below 0.4076 in 2 times"
    assert heldout(tmp_path, training).vote() is Vote.NO_DECISION


def test_it_needs_one_loss_and_queries_to_draw_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="several tasks"):
        HeldOut().build(context(tmp_path, sampler=SAMPLERS.get("LCE")(), loss=None))
    with pytest.raises(ConfigError, match="draws from the whole collection"):
        heldout(tmp_path, Faked(), SAMPLERS.get("LCE")(negatives=Negatives(random=1)))
    with pytest.raises(DataError, match="no dev query has both"):
        heldout(tmp_path, Faked()).drawn({"q1": {"b": 1.0, "c": 2.0}, "q2": {"d": 1.0}})
