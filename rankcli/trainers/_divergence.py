"""Losses, gradients and weights that are not finite: what is said of them, and when a training gives up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rankcli.backend import tf
from rankcli.errors import TrainingError
from rankcli.records.interleave import read_examples
from rankcli.trainers._base import TrainingSet

PATIENCE = 20  # batches left out in a row: it is not the batches, then


def found_in(step: int, loss: float) -> str:
    """What is wrong with a step, counted from 1, that was not finite."""
    what, value = ("a gradient", "not finite") if math.isfinite(loss) else ("the loss", loss)
    return f"{what} of step {step} is {value}"


def groups_of(sets: Mapping[str, TrainingSet], batches: Mapping[str, int], step: int) -> str:
    """The groups of a step, counted from 0: a line each with the query's and the documents' ids.

    `batches` says how many groups of each set a step takes. They are read again: step s uses the samples from s * batch
    on, so that no step has to carry ids that hardly any needs.
    """
    lines = []
    for name, batch in batches.items():
        for example in read_examples(sets[name].records, step * batch, (step + 1) * batch):
            task = f"{name}: " if len(batches) > 1 else ""
            lines.append(f"  {task}query {example.qid}, documents {' '.join(example.docids)}")
    return "\n".join(lines)


def check_weights(variables: Iterable[tuple[str, Any]], step: int, out: Path) -> None:
    """TrainingError if a variable (path, value) holds a number that is not finite after a step."""
    for path, variable in variables:
        if not bool(tf.reduce_all(tf.math.is_finite(variable))):
            raise diverged(f"after step {step}, {path} holds a number that is not finite", out)


def diverged(what: str, out: Path) -> TrainingError:
    """The error that ends a training whose numbers are not finite."""
    fix = "lower bertlr and lr; the last checkpoint and the best weights are kept"
    return TrainingError(what, where=str(out), fix=fix)
