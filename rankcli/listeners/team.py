"""All listeners of a training: choose and name them, and pass every event to all in their order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rankcli.config.registry import LISTENERS
from rankcli.config.schema import Metrics
from rankcli.errors import ConfigError
from rankcli.listeners.base import (
    DEV,
    Entry,
    Listener,
    ListenerContext,
    Measured,
    Measuring,
    Moment,
    Training,
    Validation,
    Vote,
)
from rankcli.listeners.tensorboard import TensorBoard
from rankcli.listeners.validation import Validating, Validator
from rankcli.listeners.watch import Watching


@dataclasses.dataclass(frozen=True)
class ChosenListener:
    """The options of one listener, its name, and its place in the config."""

    name: str
    where: str
    options: Any

    @property
    def kept(self) -> list[tuple[str, str]]:
        """The dev set and metric of all best weights that it keeps."""
        options = self.options
        return [(options.set, metric) for metric in options.keep or ()] if isinstance(options, Validating) else []


def chosen(trainer: Any, devsets: Sequence[str], metrics: Metrics) -> list[ChosenListener]:
    """Return the listeners of a run, in order: a validation for each dev set without one, the configured listeners,
    `watch`.

    `watch` is only added if it is not configured. The TensorBoard of `boardname` is last. ConfigError for an unknown
    metric or dev set, where two validations keep the same best weights, and where none keeps the weights that are
    tested.
    """
    asked = [(f"trainer.listeners.{n}", options) for n, options in enumerate(trainer.listeners)]
    known = {options.set for options in trainer.listeners if isinstance(options, Validating)}
    missing = [("trainer.listeners", Validating(set=name)) for name in devsets if name not in known]
    usual: list[tuple[str, Any]] = []
    if not any(isinstance(each, Watching) for each in trainer.listeners):
        usual.append(("trainer.listeners", Watching()))
    if trainer.boardname is not None:
        usual.append(("trainer.boardname", TensorBoard(boardname=trainer.boardname)))
    found, counts = [], dict[str, int]()
    for where, options in [*missing, *asked, *usual]:
        name = LISTENERS.name_of(options)
        counts[name] = counts.get(name, 0) + 1
        if isinstance(options, Validating):
            options = _filled(options, where, trainer, devsets, metrics)
        found.append(ChosenListener(name if counts[name] == 1 else f"{name}-{counts[name]}", where, options))
    _check_kept(found, metrics.optimize)
    return found


def _filled(options: Validating, where: str, trainer: Any, devsets: Sequence[str], metrics: Metrics) -> Validating:
    """Check the options, and set their defaults."""
    if options.set not in devsets:
        raise ConfigError(
            f"there is no dev set {options.set!r} (there are: {', '.join(devsets)})", where=f"{where}.set"
        )
    if options.warmup > trainer.niters:
        raise ConfigError(
            f"{options.warmup} is above niters = {trainer.niters}: no validation", where=f"{where}.warmup"
        )
    measured = options.metrics or metrics.all
    kept = options.keep if options.keep is not None else (measured if options.set == DEV else ())
    if unknown := [metric for metric in kept if metric not in measured]:
        raise ConfigError(f"{unknown[0]} is not measured (only {', '.join(measured)})", where=f"{where}.keep")
    return dataclasses.replace(options, metrics=measured, keep=kept, interval=options.interval or trainer.validatefreq)


def _check_kept(found: Sequence[ChosenListener], optimize: str) -> None:
    kept: dict[tuple[str, str], str] = {}
    for each in found:
        for place in each.kept:
            if place in kept:
                raise ConfigError(
                    f"the best weights by {place[1]} of {place[0]} are kept by {kept[place]} already",
                    where=f"{each.where}.keep",
                    fix="let one of the two not keep them",
                )
            kept[place] = each.where
    if (DEV, optimize) not in kept:
        fix = f"let the validation of {DEV} measure and keep it"
        raise ConfigError(
            f"no validation keeps the weights that are best by {optimize}", where="trainer.listeners", fix=fix
        )


class Listeners:
    """The listeners of one training, by name; see `base` for the order of events."""

    def __init__(self, trainer: Any, dev: Mapping[str, Validation], out: Path, **given: Any) -> None:
        """Build the listeners of a trainer's options; `given` has further fields of their contexts."""
        found = chosen(trainer, list(dev), dev[DEV].metrics)
        shared: dict[str, Any] = {
            "out": out,
            "dev": dev,
            "iterations": trainer.niters,
            "validatefreq": trainer.validatefreq,
            "loss": trainer.loss,
            "seed": trainer.seed,
            **given,
        }
        self.members: dict[str, Listener] = {
            each.name: each.options.build(ListenerContext(name=each.name, where=each.where, **shared)) for each in found
        }
        self._stepping = [each for each in self if getattr(each.end_step, "__func__", None) is not Listener.end_step]
        main = (DEV, dev[DEV].metrics.optimize)
        self.main = next(each.name for each in found if main in each.kept)

    def __iter__(self) -> Iterator[Listener]:
        return iter(self.members.values())

    @property
    def reads_scores(self) -> bool:
        """True if a listener reads the scores of every step."""
        return any(listener.reads_scores for listener in self)

    @property
    def best(self) -> dict[str, dict[str, Any]]:
        """Per metric of the main validation, the iteration, value and path of the best weights."""
        return dict(self.validator.best)

    @property
    def validator(self) -> Validator:
        """The main validation."""
        found = self.members[self.main]
        assert isinstance(found, Validator)
        return found

    def before_initialisation(self) -> None:
        """Pass the event to all listeners."""
        for listener in self:
            listener.before_initialisation()

    def after_initialisation(self, training: Training) -> None:
        """Pass the event to all listeners."""
        for listener in self:
            listener.after_initialisation(training)

    def restore(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Restore the state of every listener. One that was added to the config later has none and starts anew."""
        for name, listener in self.members.items():
            if name in states:
                listener.restore(states[name])

    def start_training(self, now: Moment, entries: Sequence[Entry]) -> None:
        """Pass the event to all listeners."""
        for listener in self:
            listener.start_training(now, entries)

    def start_iteration(self, now: Moment) -> None:
        """Pass the event to all listeners."""
        for listener in self:
            listener.start_iteration(now)

    def end_step(self, now: Moment, done: Mapping[str, Any]) -> None:
        """Pass the event to the listeners that override it."""
        for listener in self._stepping:
            listener.end_step(now, done)

    def end_iteration(self, now: Moment, entry: Entry) -> None:
        """Pass the event to all listeners."""
        for listener in self:
            listener.end_iteration(now, entry)

    def validate(self, now: Moment) -> list[Measured]:
        """Return the results of the listeners that are due; empty if none is."""
        due = [each for each in self if isinstance(each, Measuring) and each.due(now.iteration)]
        if due:
            for listener in self:
                listener.before_validation(now)
        return [listener.validate(now) for listener in due]

    def after_validation(self, now: Moment, found: Sequence[Measured], entry: Entry) -> None:
        """Pass the event to all listeners."""
        for listener in self:
            listener.after_validation(now, found, entry)

    def why_stop(self) -> str:
        """Return the reason why training stops here. Empty if it goes on: nobody votes to stop, or somebody votes not
        to.
        """
        votes = [listener.vote() for listener in self]
        if max(votes) is not Vote.STOP:
            return ""
        return "; ".join(listener.reason() for listener, vote in zip(self, votes, strict=True) if vote is Vote.STOP)

    def end_training(self, now: Moment, stopped: bool) -> None:
        """Pass the event to all listeners."""
        for listener in self:
            listener.end_training(now, stopped)

    def states(self) -> dict[str, dict[str, Any]]:
        """Return the state of every listener that has one."""
        return {name: state for name, listener in self.members.items() if (state := listener.state())}

    def results(self) -> dict[str, dict[str, Any]]:
        """Return the result of every listener that has one."""
        return {name: result for name, listener in self.members.items() if (result := listener.result())}


def entry_of(now: Moment, found: Sequence[Measured]) -> Entry:
    """Return the line of metrics.jsonl about a validation.

    `dev` has the means of the main dev set, `dev/NAME` those of another one. Other kinds have their name as the key.
    """
    entry: Entry = {"iter": now.iteration, "step": now.step, DEV: {}}
    for each in found:
        key = each.name if each.name == DEV or each.kind != DEV else f"{DEV}/{each.name}"
        entry.setdefault(key, {}).update(each.means)
    return entry
