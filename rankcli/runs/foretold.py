"""A run on a TPU that is not here: its steps compiled by the TPU's own compiler, for one of its replicas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankcli.backend import tf
from rankcli.chips.compile import Compiled, compiled
from rankcli.chips.figures import TOGETHER, Slice
from rankcli.chips.lowering import Program, prediction_programs, training_program
from rankcli.log import Progress
from rankcli.records.extract import examples_of
from rankcli.records.keys import pair_keys
from rankcli.records.largest import largest_batch
from rankcli.records.reader import Shape, collate
from rankcli.records.texts import FEATURES, InMemory
from rankcli.runs.estimate import scored
from rankcli.runs.prepare import Prepared
from rankcli.runs.sets import DEV, TRAIN, RankedSet, RecordSet
from rankcli.shapes import Batch
from rankcli.training.base import TrainerContext
from rankcli.training.hooks import compares_groups
from rankcli.training.learner import Learner
from rankcli.training.predict import EVALBATCH
from rankcli.training.strategy import check_batches

MOST = 1 << 20  # groups of a batch; larger ones are not tried


@dataclass(frozen=True)
class Foretold:
    """The programs of a run on a TPU, as `facts` for programs and as `text` for people."""

    facts: dict[str, Any]
    text: str


def foretell(run: Prepared, on: Slice, largest: bool) -> Foretold:
    """Compile the steps of a run for `on`; nothing is converted.

    ConfigError where the batch cannot be dealt to the replicas.
    """
    check_batches(run.trainer, on.replicas)
    replica = _Replica(run, on)
    programs = list(replica.programs())
    with Progress(len(programs), f"compiling for {on.name}", "programs") as bar:
        found = []
        for each in compiled(programs, [on.chip]):
            found.append(each)
            bar.advance(1)
    batch = replica.largest_batch() if largest else None
    return _told(run, on, found, batch)


class _Replica:
    """The model and the batches of one replica, on this machine's CPU."""

    def __init__(self, run: Prepared, on: Slice) -> None:
        self._run, self._on, start = run, on, run.start
        self._strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
        self._keyed = compares_groups(run.trainer.losses(), run.trainer.hooks)
        train = next(iter(run.sets.of(TRAIN).values()))
        context = TrainerContext(
            *(start.reranker, start.extractor, start.models, {}, {}, {}, Path(), ""),
            initialise=start.initialise,
            judged=pair_keys(train.relevant()) if self._keyed else None,
        )
        self._learner = Learner(run.trainer, context, self._strategy)

    def programs(self) -> Iterator[Program]:
        """Yield a step on the largest batch and one on the first batch of the run, and the programs of prediction."""
        yield self._step(LARGEST, self._full)
        yield self._step(FIRST, self._first)
        dev, listwise = self._run.sets[DEV], self._run.start.reranker.listwise
        count = -(-(self._run.trainer.evalbatch or EVALBATCH) // self._on.replicas)
        docs = dev.group_size if listwise else 1
        full = largest_batch(dev.extractor, _widths(dev), Shape(max(count // docs, 1), docs, static=True))
        yield from prediction_programs(self._strategy, self._learner.reranker, dev.extractor, full)

    def largest_batch(self) -> int:
        """Return the largest batch of one task whose step fits, a multiple of what is dealt evenly; 0 if none does."""
        each = self._on.replicas * self._run.trainer.accumulate

        def fits(times: int) -> bool:
            program = self._step(LARGEST, lambda task, groups: self._full(task, times))
            (found,) = compiled([program], [self._on.chip])
            return found.fits

        return int(each * largest_that(fits, MOST // each))

    def _step(self, name: str, batch: Callable[[str, int], Batch]) -> Program:
        trainer = self._run.trainer
        parts = {task: count // (self._on.replicas * trainer.accumulate) for task, count in trainer.batches.items()}
        one = {task: batch(task, groups) for task, groups in parts.items()}
        executions = trainer.steps_per_execution
        batches = [one] * (trainer.accumulate * executions)
        return training_program(self._learner, batches, executions, name, min(self._on.replicas, TOGETHER))

    def _full(self, task: str, groups: int) -> Batch:
        each = self._run.sets.of(TRAIN)[task]
        return largest_batch(
            each.extractor, _widths(each), Shape(groups, each.group_size, static=True, keyed=self._keyed)
        )

    def _first(self, task: str, groups: int) -> Batch:
        each = self._run.sets.of(TRAIN)[task]
        samples = [each.sampler(n) for n in range(groups)]
        queries = InMemory(each.dataset.queries)
        examples = examples_of(samples, each.extractor, queries, each.texts, each.features, each.drawn_columns)
        (batch,) = collate([examples], each.extractor, Shape(groups, each.group_size, static=True, keyed=self._keyed))
        return batch


LARGEST, FIRST = "step, every text of the greatest length", "step, the first texts of the run"


def _widths(each: RecordSet) -> dict[str, tuple[int, ...]]:
    features = each.features
    return {name: (features.width,) if name == FEATURES and features else () for name in each.columns}


def largest_that(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest number up to `most` that fits, where smaller ones fit too; by doubling, then by halves."""
    if not fits(1):
        return 0
    good, bad = 1, 2
    while bad <= most and fits(bad):
        good, bad = bad, 2 * bad
    bad = min(bad, most + 1)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def _told(run: Prepared, on: Slice, found: list[Compiled], batch: int | None) -> Foretold:
    fits = all(each.fits for each in found)
    hours = _hours(run, on, found) if fits else None
    facts: dict[str, Any] = {
        "name": on.name,
        "replicas": on.replicas,
        "fits": fits,
        "memory": on.chip.memory,
        "programs": [_facts(each) for each in found],
        "hours_at_least": hours,
    }
    lines = [f"on a {on.name}, as its own compiler says of one of {on.replicas} replicas"]
    lines += [f"  {_line(each)}" for each in found]
    if hours is not None:
        lines.append(f"  at least {_time(hours)} in all, and on top {_sums(on, found)}the host's work")
    if batch is not None:
        facts["largest_batch"] = batch
        lines.append(f"  the largest trainer.batch that fits: {batch}" if batch else "  no batch fits")
    if not fits:
        lines.append("  does not fit: -> use a smaller trainer.batch, trainer.accumulate, or shorter texts")
    return Foretold(facts, "\n".join(lines))


def _sums(on: Slice, found: list[Compiled]) -> str:
    if on.replicas == 1:
        return ""
    largest = max(each.summed for each in found)
    return f"sums of {largest / 1e6:.1f} MB a step over {on.replicas} replicas and "


def _facts(each: Compiled) -> dict[str, Any]:
    return {
        "name": each.name,
        "fits": each.fits,
        "error": each.error or None,
        "bytes": each.memory,
        "flops": each.flops,
        "bytes_moved": each.moved,
        "bytes_summed": each.summed,
        "compile_seconds": each.seconds,
        "milliseconds_at_least": 1000 * each.least,
    }


def _line(each: Compiled) -> str:
    if each.error:
        return f"{each.name}: does not compile: {each.error}"
    needed = f"{each.memory / 1e9:.2f} GB, {each.share:.0%} of the memory"
    if not each.fits:
        return f"{each.name}: too large: {needed}"
    bound = "memory" if each.moving > each.computing else "compute"
    return (
        f"{each.name}: {needed}, compiled in {each.seconds:.0f} s; at least {1000 * each.least:.2f} ms by {bound} "
        f"(compute {1000 * each.computing:.2f}, memory {1000 * each.moving:.2f})"
    )


def _hours(run: Prepared, on: Slice, found: list[Compiled]) -> float:
    """Return the hours of all steps and of all that is scored, each at its least."""
    times = {each.name: each.least / each.handled for each in found}
    ranked = {name: each for name, each in run.sets.items() if isinstance(each, RankedSet)}
    predicting = [time for name, time in times.items() if name not in (LARGEST, FIRST)]
    pairs = scored(ranked, run.trainer, once=len(predicting) > 1)
    seconds: float = times[FIRST] * run.trainer.steps + max(predicting) * pairs / on.replicas
    return seconds / 3600


def _time(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{60 * hours:.0f} minutes" if hours >= 1 / 30 else f"{3600 * hours:.1f} seconds"
