"""What a listener is built from, hears, may ask of the training, and says.

Calls come in one order, whatever the listeners: `before_initialisation`, then the trainer's strategy, model and
optimizers, `after_initialisation`, `restore` if there is a checkpoint, `start_training`. For every iteration
`start_iteration`, its steps with an `end_step` after each, the line of `metrics.jsonl`, `end_iteration`, the
checkpoint; where a listener is `due`, `before_validation` of all, `validate` of those that are due, the line of
`metrics.jsonl`, `after_validation` of all; then `vote`. At last `end_training`. Before training, iteration 0 is
validated and voted on, too.

A run that is resumed within an iteration hears no second `start_iteration`; one that is resumed after its checkpoint
and before its validation is complete hears all of that validation again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

from rankcli.config.schema import Metrics
from rankcli.data.trec import Run
from rankcli.evaluation.interpolate import Scores
from rankcli.records.interleave import Records

DEV = "dev"  # the dev set that chooses weights and alpha
Entry = dict[str, Any]  # a line of metrics.jsonl


@dataclass(frozen=True)
class Validation:
    """What weights are judged by: the records, judgments and first stage of the dev queries."""

    records: Records
    qrels: Mapping[str, Mapping[str, int]]
    first_stage: Run
    relevance_level: int
    metrics: Metrics


class Vote(IntEnum):
    """A listener's word at the end of an iteration; the highest of all counts."""

    NO_DECISION = 0
    STOP = 1
    DONT_STOP = 2


@dataclass(frozen=True)
class Moment:
    """Where the training stands: iterations that are complete, and steps made."""

    iteration: int
    step: int


@dataclass(frozen=True)
class Measured:
    """What a listener found in one validation: `kind` and `name` say of what (`dev` and the dev set).

    `first_stage` are the same metrics of the first stage, `scores` those of the pairs, where there are any.
    """

    kind: str
    name: str
    means: Mapping[str, float]
    first_stage: Mapping[str, float] = field(default_factory=dict)
    scores: Scores = field(default_factory=dict)


class Training(Protocol):
    """What a listener may ask of the training, from `after_initialisation` on."""

    @property
    def starts(self) -> Mapping[str, int]:
        """By optimizer group, the global step at which it starts to train."""

    @property
    def equal_losses(self) -> Mapping[str, float]:
        """By the name of a loss, as metrics.jsonl has it, its value where all scores of a group are equal."""

    def scores(self, name: str) -> Scores:
        """The scores of all pairs of a dev set by the weights as they are."""

    def keep(self, path: Path) -> None:
        """Save the weights as they are as a model directory at a path in the run directory."""


@dataclass(frozen=True, kw_only=True)
class ListenerContext:
    """What a listener is built from, before there is a model.

    `name` is its own, no other listener of the run has it; `where` is where it stands in the config, for messages.
    `dev` has DEV first; `iterations` is `trainer.niters`; `sampler` and `loss` are the options of the run's, None where
    it has several tasks.
    """

    name: str
    where: str
    out: Path
    dev: Mapping[str, Validation]
    iterations: int
    validatefreq: int = 1
    sampler: Any = None
    loss: Any = None
    seed: int = 42


class Listener:
    """Hears what happens. Events do nothing, and answers are empty, unless a listener has its own."""

    def before_initialisation(self) -> None:
        """Nothing has been built yet."""

    def after_initialisation(self, training: Training) -> None:
        """Strategy, model with its initial weights, and optimizers are there; no checkpoint has been looked for."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Be as when `state()` returned `state`, which has been through JSON."""

    def start_training(self, now: Moment, entries: Sequence[Entry]) -> None:
        """Training begins, or goes on, here; `entries` are the lines of metrics.jsonl so far."""

    def start_iteration(self, now: Moment) -> None:
        """The first step of iteration `now.iteration` + 1 is about to be made."""

    def end_step(self, now: Moment, done: Mapping[str, Any]) -> None:
        """A step is made and counted; `done` is what `TrainingStep` returned, still on the devices."""

    def end_iteration(self, now: Moment, entry: Entry) -> None:
        """An iteration is complete, and `entry` is its line of metrics.jsonl."""

    def before_validation(self, now: Moment) -> None:
        """Somebody is about to validate."""

    def after_validation(self, now: Moment, found: Sequence[Measured], entry: Entry) -> None:
        """All that were due have validated: what they found, and the line of metrics.jsonl about it."""

    def vote(self) -> Vote:
        """Whether to stop here: a pure function of what `state` returns."""
        return Vote.NO_DECISION

    def reason(self) -> str:
        """Why it votes to stop, in words."""
        return ""

    def end_training(self, now: Moment, stopped: bool) -> None:
        """The last step is made: all of them, or all before it was `stopped` by vote."""

    def state(self) -> dict[str, Any]:
        """What it knows, in plain values, for a checkpoint."""
        return {}

    def result(self) -> dict[str, Any]:
        """What it has to tell in result.json."""
        return {}


class Measuring(Listener, ABC):
    """A listener that measures the weights when it is its time."""

    @abstractmethod
    def due(self, iteration: int) -> bool:
        """Whether to `validate` after an iteration: a pure function of it."""

    @abstractmethod
    def validate(self, now: Moment) -> Measured:
        """Measure the weights as they are; only those that are `due` are asked."""
