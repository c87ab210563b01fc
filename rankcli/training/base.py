"""What a trainer is given and what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rankcli.extractors.base import Extractor
from rankcli.listeners.base import Validation
from rankcli.records.interleave import Records
from rankcli.rerankers.base import Reranker

TRAIN = "train"  # the only training set of one task


class Share(NamedTuple):
    """A task's part in a step: the number of its groups on all devices together, and its weight."""

    groups: int
    weight: float


class StepInputs(NamedTuple):
    """The inputs of an optimizer step beside its batches.

    Its global number, int32; by task the number of its groups on all devices together, float32; the factors of all
    terms that are minimised, float32 [T]; and of each optimizer group its learning rate, float32 [G], and whether it is
    trained, bool [G].
    """

    number: Any
    groups: Mapping[str, Any]
    weights: Any
    rates: Any
    active: Any


@dataclass(frozen=True)
class TrainingSet:
    """What one task trains on: its records, and the extractor that lays their tokens out."""

    records: Records
    extractor: Extractor


@dataclass(frozen=True)
class TrainerContext:
    """What a trainer is built from.

    `extractor` is what the model is built and predicts with, `models` has the directories that the reranker's options
    name. `train` has a set per task, that of a single one under TRAIN; `dev` has DEV first, and then the further dev
    sets by their names. `sections` is saved beside the weights, so that they can be loaded without the config. `sync`
    is called whenever `out` has something new that is worth keeping: it uploads it where `out` is the mirror of a
    bucket. `initialise` gives a reranker that was just built other weights to start from, if there are such, and
    returns what is told of them.
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


@dataclass
class State:
    """Where a training stands: all that a checkpoint holds beside variables and optimizer slots.

    `loss_sum` adds up the losses of the current iteration's steps but for those `skipped`, `sums` what else is logged
    of them, by kind and name, and `measured` the sum and the count of what hooks measured; `unusable` counts the steps
    in a row, up to the last, that `on_nan: skip` has left out; `seconds` counts training steps only, not validation;
    `validated` is the last iteration whose validation is complete, -1 before the first; `listeners` holds what each of
    them knows.
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

    def count(
        self, loss: float, logged: Mapping[str, Mapping[str, float]], measured: Mapping[str, Sequence[float]]
    ) -> None:
        """Add up what is logged of a step; `measured` has sums and counts."""
        self.loss_sum += loss
        for kind, values in logged.items():
            sums = self.sums.setdefault(kind, dict.fromkeys(values, 0.0))
            for name, value in values.items():
                sums[name] += value
        for name, pair in measured.items():
            before = self.measured.get(name, (0.0, 0.0))
            self.measured[name] = [old + new for old, new in zip(before, pair, strict=True)]

    def means(self, taken: int) -> dict[str, Any]:
        """The means over the `taken` steps that were counted, None where there are none; then counting starts anew."""
        loss, sums, measured = self.loss_sum, self.sums, self.measured
        self.loss_sum, self.sums, self.measured = 0.0, {}, {}
        means: dict[str, Any] = {kind: {name: v / taken for name, v in values.items()} for kind, values in sums.items()}
        if measured:
            means["measures"] = {name: total / count if count else None for name, (total, count) in measured.items()}
        return {"loss": loss / taken if taken else None, **means}
