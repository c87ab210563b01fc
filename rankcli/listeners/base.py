"""The contract of listeners: their events, their inputs, and their results.

Calls come in a fixed order: `before_initialisation`, then the trainer builds strategy, model and optimizers,
`after_initialisation`, `restore` if there is a checkpoint, `start_training`. For every iteration: `start_iteration`,
its steps with an `end_step` after each, the line of `metrics.jsonl`, `end_iteration`, the checkpoint. Where a listener
is `due`: `before_validation` of all, `validate` of those that are due, the line of `metrics.jsonl`, `after_validation`
of all. Then `vote`. At the end `end_training`. Before training, iteration 0 is validated and voted on, too.

A run that is resumed within an iteration gets no second `start_iteration`. A run that is resumed after a checkpoint,
but before its validation is complete, gets all events of that validation again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

from rankcli.config.schema import Metrics
from rankcli.data.trec import Run
from rankcli.evaluation.interpolate import Scores
from rankcli.records.interleave import Records
from rankcli.shapes import Example

DEV = "dev"  # the dev set that chooses weights and alpha
Entry = dict[str, Any]  # a line of metrics.jsonl


@dataclass(frozen=True)
class Validation:
    """The data to judge weights with: records, judgments and first stage of the dev queries."""

    records: Records
    qrels: Mapping[str, Mapping[str, int]]
    first_stage: Run
    relevance_level: int
    metrics: Metrics


class Vote(IntEnum):
    """A listener's vote at the end of an iteration. The highest vote of all listeners decides."""

    NO_DECISION = 0
    STOP = 1
    DONT_STOP = 2


@dataclass(frozen=True)
class Moment:
    """The progress of the training: complete iterations, and steps."""

    iteration: int
    step: int


@dataclass(frozen=True)
class Measured:
    """The result of a listener for one validation. `kind` and `name` identify it, for example `dev` and the dev set.

    `first_stage` has the same metrics of the first stage, `scores` the scores of the pairs; both may be empty.
    """

    kind: str
    name: str
    means: Mapping[str, float]
    first_stage: Mapping[str, float] = field(default_factory=dict)
    scores: Scores = field(default_factory=dict)


class Training(Protocol):
    """The interface of the training for listeners, available from `after_initialisation` on."""

    @property
    def starts(self) -> Mapping[str, int]:
        """By optimizer group, the global step at which it starts to train."""

    @property
    def equal_losses(self) -> Mapping[str, float]:
        """By loss name in metrics.jsonl, the loss when all scores of a group are equal."""

    def scores(self, name: str) -> Scores:
        """Return the scores of all pairs of a dev set by the present weights."""

    def groups(self, step: int) -> Iterator[tuple[str, Example]]:
        """Read the groups of a step, counted from 0, again: the task and the group, in the order of the samples."""

    def keep(self, path: Path) -> None:
        """Save the present weights as a model directory at a path in the run directory."""


@dataclass(frozen=True, kw_only=True)
class ListenerContext:
    """The inputs that a listener is built from, before the model exists.

    `name` is unique among the listeners of the run. `where` is its place in the config, for messages. `dev` has DEV
    first. `iterations` is `trainer.niters`. `sampler` and `loss` are the run's options, None where it has several
    tasks.
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
    """Receives the events of a training. By default, events do nothing and results are empty.

    One with `reads_scores` finds in the `done` of `end_step` the scores of the batch of each task, `scores/TASK`
    [groups, K], in the order of the samples.
    """

    reads_scores: bool = False

    def before_initialisation(self) -> None:
        """Called before anything is built."""

    def after_initialisation(self, training: Training) -> None:
        """Called when strategy, model with initial weights, and optimizers are built, before any checkpoint is read."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Return to the state that `state()` returned; `state` has been through JSON."""

    def start_training(self, now: Moment, entries: Sequence[Entry]) -> None:
        """Called when training begins or resumes. `entries` are the lines of metrics.jsonl so far."""

    def start_iteration(self, now: Moment) -> None:
        """Called before the first step of iteration `now.iteration` + 1."""

    def end_step(self, now: Moment, done: Mapping[str, Any]) -> None:
        """Called after a step was made and counted.

        `done` is the result of `TrainingStep`, still on the devices, and `noted`, what the log says of the step.
        """

    def end_iteration(self, now: Moment, entry: Entry) -> None:
        """Called after an iteration. `entry` is its line of metrics.jsonl."""

    def before_validation(self, now: Moment) -> None:
        """Called before any listener validates."""

    def after_validation(self, now: Moment, found: Sequence[Measured], entry: Entry) -> None:
        """Called after all due listeners have validated, with their results and their line of metrics.jsonl."""

    def vote(self) -> Vote:
        """Vote on stopping here. The vote must be a pure function of `state`."""
        return Vote.NO_DECISION

    def reason(self) -> str:
        """Return the reason of a vote to stop, in words."""
        return ""

    def end_training(self, now: Moment, stopped: bool) -> None:
        """Called after the last step: that of the last iteration, or the one after which it was `stopped` by vote."""

    def state(self) -> dict[str, Any]:
        """Return its state for a checkpoint, in values that JSON can store."""
        return {}

    def result(self) -> dict[str, Any]:
        """Return its entry of result.json."""
        return {}


class Measuring(Listener, ABC):
    """A listener that measures the weights at some iterations."""

    @abstractmethod
    def due(self, iteration: int) -> bool:
        """True if it should `validate` after an iteration; a pure function of the iteration."""

    @abstractmethod
    def validate(self, now: Moment) -> Measured:
        """Measure the present weights. Called only if it is `due`."""
