"""Warnings about trainings that fail without an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rankcli.config.registry import LISTENERS, option
from rankcli.config.types import PositiveInt
from rankcli.evaluation.interpolate import Scores
from rankcli.listeners.base import DEV, Entry, Listener, ListenerContext, Measured, Moment, Training
from rankcli.log import warn

NEAR = 0.01  # relative distance from the loss of equal scores
STUCK = 2  # iterations in a row near that loss
FLAT = 1e-4  # relative to the size of the scores


@LISTENERS.register("watch")
@dataclass(frozen=True, kw_only=True)
class Watching:
    """Warns of trainings that fail without an error, once for each cause.

    The causes: a loss that stays at that of equal scores, scores that hardly differ within a query, a group whose
    gradient or learning rate is 0, and a dev set that stays below its first stage. It is part of every training; name
    it to change its option.
    """

    version: ClassVar[int] = 1
    identity: ClassVar[bool] = False
    validations: PositiveInt = option(
        2, "validations in a row, after training began, below the first stage that are warned of", identity=False
    )

    def build(self, ctx: ListenerContext) -> Listener:
        """Build the listener."""
        return Watch(self)


class Watch(Listener):
    """Writes its warnings to stderr and into result.json. Groups are watched from the step on at which they train."""

    def __init__(self, options: Watching) -> None:
        self.options = options
        self.told: dict[str, str] = {}  # the warnings given, by cause
        self.stuck: dict[str, int] = {}  # by loss, the iterations in a row near that of equal scores
        self.below: dict[str, int] = {}  # by dev set, the validations in a row below the first stage

    def after_initialisation(self, training: Training) -> None:
        """Keep the start steps of groups and the losses for equal scores."""
        self.starts, self.equal = training.starts, training.equal_losses

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state, so that no warning is repeated."""
        self.told, self.stuck, self.below = (dict(state[name]) for name in ("told", "stuck", "below"))

    def state(self) -> dict[str, Any]:
        """Return the warnings given and the counts."""
        return {"told": self.told, "stuck": self.stuck, "below": self.below}

    def result(self) -> dict[str, Any]:
        """Return the warnings."""
        return {"warnings": list(self.told.values())}

    def _warn(self, about: str, message: str) -> None:
        if about not in self.told:
            self.told[about] = message
            warn(message)

    def end_iteration(self, now: Moment, entry: Entry) -> None:
        """Check the loss, and the gradient and the learning rate of every group that trains."""
        losses = entry.get("losses", {})
        for name, equal in self.equal.items():
            self._watch_loss(name, losses.get(name, entry["loss"]), equal)
        for group in (group for group, start in self.starts.items() if start < now.step):
            if entry["lr"].get(group) == 0:
                self._warn(f"lr {group}", f"iteration {now.iteration}: the learning rate of group {group!r} is 0")
            if entry.get("grad_norm", {}).get(group) == 0:
                self._warn(
                    f"gradient {group}",
                    f"iteration {now.iteration}: the gradient of group {group!r} was 0 in every step",
                )

    def _watch_loss(self, name: str, loss: float | None, equal: float) -> None:
        near = loss is not None and abs(loss - equal) <= NEAR * equal
        self.stuck[name] = self.stuck.get(name, 0) + 1 if near else 0
        if self.stuck[name] >= STUCK:
            self._warn(
                f"loss {name}",
                f"{name} has stayed at {equal:.4f}, what equal scores give, for {STUCK} iterations: "
                "nothing is learnt (is the learning rate too low, or so high that the scores collapsed?)",
            )

    def after_validation(self, now: Moment, found: Sequence[Measured], entry: Entry) -> None:
        """Check the scores, and compare with the first stage. The untrained model (iteration 0) is not checked."""
        if now.iteration == 0:
            return
        for each in (each for each in found if each.kind == DEV):
            if flat(each.scores):
                self._warn(
                    f"scores {each.name}",
                    f"iteration {now.iteration}: the documents of a query of {each.name} all get about the same score",
                )
            metric = next(iter(each.means))
            low = each.means[metric] < each.first_stage[metric]
            self.below[each.name] = self.below.get(each.name, 0) + 1 if low else 0
            if self.below[each.name] >= self.options.validations:
                self._warn(
                    f"below {each.name}",
                    f"{each.name} is worse than its first stage after {self.below[each.name]} validations: "
                    f"{metric} {each.means[metric]:.4f} against {each.first_stage[metric]:.4f}",
                )


def flat(scores: Scores) -> bool:
    """True if scores hardly differ within queries.

    Compared are the mean over queries of their standard deviation and the mean size of all scores (at least 1).
    """
    groups = [np.fromiter(of_query.values(), np.float64) for of_query in scores.values() if len(of_query) > 1]
    if not groups:
        return False
    size = max(1.0, float(np.mean(np.abs(np.concatenate(groups)))))
    return float(np.mean([group.std() for group in groups])) <= FLAT * size
