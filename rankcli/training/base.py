"""The inputs of a trainer, and the state of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rankcli.extractors.base import Extractor
from rankcli.listeners.base import Validation
from rankcli.records.interleave import Records
from rankcli.rerankers.base import Reranker
from rankcli.shapes import Ints

TRAIN = "train"  # the only training set of one task


class Share(NamedTuple):
    """A task's share of a step: the number of its groups on all devices together, and its weight."""

    groups: int
    weight: float


class StepInputs(NamedTuple):
    """The inputs of an optimizer step in addition to its batches.

    `number` is the global step, int32. `groups` has by task the number of its groups on all devices together, float32.
    `weights` are the factors of all terms of the loss, float32 [T]. `rates` are the learning rates of the optimizer
    groups, float32 [G], and `active` tells which groups are trained, bool [G].
    """

    number: Any
    groups: Mapping[str, Any]
    weights: Any
    rates: Any
    active: Any


@dataclass(frozen=True)
class TrainingSet:
    """The training data of one task: its records, and the extractor that lays out their tokens.

    With `keyed` its batches have `keys`.
    """

    records: Records
    extractor: Extractor
    keyed: bool = False


@dataclass(frozen=True)
class TrainerContext:
    """The inputs that a trainer is built from.

    `extractor` is the one that the model is built for and predicts with. `models` has the directories that the
    reranker's options name. `train` has a set per task, under TRAIN for a single task; `dev` has DEV first, and then
    the further dev sets by their names. `sections` are saved with the weights, so that they can be loaded without the
    config. `sync` must be called when `out` has new files worth keeping: it uploads them where `out` mirrors a bucket.
    `initialise` loads the weights of `init`, if given, into a reranker that was just built, and returns a line about
    them. `judged` are the sorted keys of the pairs that are judged relevant, where batches have keys.
    """

    reranker: Any
    extractor: Extractor
    models: Mapping[str, Path]
    sections: Mapping[str, Any]
    train: Mapping[str, TrainingSet]
    dev: Mapping[str, Validation]
    out: Path
    run_id: str
    sync: Callable[[], None] = lambda: None
    sampler: Any = None
    initialise: Callable[[Reranker], str] = lambda _: ""
    keep: Callable[[Any, Reranker, Extractor], Any] | None = None
    judged: Ints | None = None


@dataclass
class State:
    """The progress of a training: the content of a checkpoint without variables and optimizer slots.

    `loss_sum` adds up the losses of the current iteration's steps, without the `skipped` ones. `sums` adds up the other
    logged values by kind and name. `measured` has the sum and the count of each measure of hooks. `unusable` counts the
    latest steps in a row that `on_nan: skip` left out. `seconds` counts training steps only, not validation.
    `validated` is the last iteration whose validation is complete, -1 before the first. `listeners` has the state of
    each listener, `history` the size and the CRC32C of `metrics.jsonl`.
    """

    step: int = 0
    loss_sum: float = 0.0
    sums: dict[str, dict[str, float]] = field(default_factory=dict)
    measured: dict[str, list[float]] = field(default_factory=dict)
    skipped: int = 0
    unusable: int = 0
    seconds: float = 0.0
    validated: int = -1
    listeners: dict[str, Any] = field(default_factory=dict)
    history: list[int] = field(default_factory=list)

    def count(
        self, loss: float, logged: Mapping[str, Mapping[str, float]], measured: Mapping[str, Sequence[float]]
    ) -> None:
        """Add up the logged values of a step; `measured` has sums and counts."""
        self.loss_sum += loss
        for kind, values in logged.items():
            sums = self.sums.setdefault(kind, dict.fromkeys(values, 0.0))
            for name, value in values.items():
                sums[name] += value
        for name, pair in measured.items():
            before = self.measured.get(name, (0.0, 0.0))
            self.measured[name] = [old + new for old, new in zip(before, pair, strict=True)]

    def means(self, taken: int) -> dict[str, Any]:
        """Return the means over the `taken` steps that were counted, None without any, and reset the sums."""
        loss, sums, measured = self.loss_sum, self.sums, self.measured
        self.loss_sum, self.sums, self.measured = 0.0, {}, {}
        means: dict[str, Any] = {kind: {name: v / taken for name, v in values.items()} for kind, values in sums.items()}
        return {"loss": loss / taken if taken else None, **means, **measures(measured)}


def measures(measured: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float | None]]:
    """Return the ratio of each sum and count as `measures`, None for a count of 0; empty if nothing is measured."""
    found = {name: total / count if count else None for name, (total, count) in measured.items()}
    return {"measures": found} if found else {}
