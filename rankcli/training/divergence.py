"""Losses, gradients and weights that are not finite: warnings, and the errors that end a training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rankcli.backend import tf
from rankcli.errors import TrainingError
from rankcli.evaluation.interpolate import Scores
from rankcli.log import warn
from rankcli.records.interleave import read_examples
from rankcli.shapes import Example
from rankcli.training.base import State, TrainerContext, TrainingSet
from rankcli.training.settings import Settings

PATIENCE = 20  # batches left out in a row; with more, the batches are not the cause


def leave_out(loss: float, state: State, options: Settings, ctx: TrainerContext) -> None:
    """Report the batch of the step after `state`, whose loss or gradient is not finite and which changed nothing.

    TrainingError where `on_nan` is `stop`, or after more than PATIENCE such batches in a row.
    """
    what, value = ("a gradient", "not finite") if math.isfinite(loss) else ("the loss", loss)
    found = f"{what} of step {state.step + 1} is {value}"
    groups = _listed(ctx.train, options.batches, state.step)
    state.unusable += 1
    if options.on_nan == "stop":
        raise _diverged(f"{found}; its batch:\n{groups}", ctx.out)
    if state.unusable > PATIENCE:
        raise _diverged(f"{found}, as were the {PATIENCE} before; its batch:\n{groups}", ctx.out)
    warn(f"{found}; this batch is left out:\n{groups}")


def check_weights(variables: Iterable[tuple[str, Any]], step: int, out: Path) -> None:
    """Raise TrainingError if a variable (path, value) has a number that is not finite after a step."""
    for path, variable in variables:
        if not bool(tf.reduce_all(tf.math.is_finite(variable))):
            raise _diverged(f"after step {step}, {path} holds a number that is not finite", out)


def check_scores(scores: Scores, what: str, out: Path) -> None:
    """Raise TrainingError if a score is not finite: finite weights can still be too large to compute with."""
    for qid, found in scores.items():
        for docid, score in found.items():
            if not math.isfinite(score):
                raise _diverged(f"the score of document {docid} for query {qid} of {what} is {score}", out)


def groups_of(sets: Mapping[str, TrainingSet], batches: Mapping[str, int], step: int) -> Iterator[tuple[str, Example]]:
    """Yield the groups of a step, counted from 0, each with the name of its set.

    `batches` gives the number of groups of each set per step. Step s uses the samples from s * batch on, so they are
    read again here. No batch has to carry ids, which are almost never needed.
    """
    for name, batch in batches.items():
        for example in read_examples(sets[name].records, step * batch, (step + 1) * batch):
            yield name, example


def _listed(sets: Mapping[str, TrainingSet], batches: Mapping[str, int], step: int) -> str:
    """List the groups of a step: one line each with the query's and the documents' ids."""
    several = len(batches) > 1
    return "\n".join(
        f"  {f'{name}: ' if several else ''}query {example.qid}, documents {' '.join(example.docids)}"
        for name, example in groups_of(sets, batches, step)
    )


def _diverged(what: str, out: Path) -> TrainingError:
    """Return the error that ends a training whose numbers are not finite."""
    fix = "lower bertlr and lr; the last checkpoint and the best weights are kept"
    return TrainingError(what, where=str(out), fix=fix)
