"""Batches of all tasks, step by step."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping

from rankcli.records.reader import NOTHING_KNOWN, Known, training_batches
from rankcli.shapes import Batch
from rankcli.training.base import TrainingSet


def task_batches(
    train: Mapping[str, TrainingSet],
    groups: Mapping[str, int],
    *,
    parts: int,
    start: int,
    steps: int,
    static: bool,
    here: range | None = None,
    at_once: Iterable[int] = (),
    known: Known = NOTHING_KNOWN,
) -> Iterator[list[dict[str, Batch]]]:
    """Yield, per step from `start` on and for each of `parts` (replicas and micro-batches), one batch of every task.

    Step s uses the samples s x `groups` up to (s + 1) x `groups` of a task, whatever the other tasks are. Only the
    parts `here` are read, by default all. `at_once`, iterated over once for each task, gives the number of steps per
    execution; by default 1. `known` gives the base vectors of sequences by field.
    """
    readers = [
        training_batches(
            train[task].records,
            train[task].extractor,
            batch=count,
            replicas=parts,
            start_step=start,
            steps=steps,
            static=static,
            here=here,
            at_once=at_once or itertools.repeat(1),
            known=known,
            keyed=train[task].keyed,
        )
        for task, count in groups.items()
    ]
    for batches in zip(*readers, strict=True):
        yield [dict(zip(groups, part, strict=True)) for part in zip(*batches, strict=True)]
