"""A reranker that is one product: gradients by hand, losses that a test sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rankcli.backend import tf
from rankcli.config.registry import HOOKS, OPTIMIZERS
from rankcli.config.validate import component_from
from rankcli.encoders.dropout import Dropout
from rankcli.hooks.base import Hook
from rankcli.optimizers.base import Member, Optimizer
from rankcli.shapes import Batch, Outputs, StepContext
from rankcli.training.base import TRAIN, StepInputs
from rankcli.training.gradients import Objective
from rankcli.training.groups import Group, GroupOptions
from rankcli.training.hooks import build_hooks
from rankcli.training.step import TrainingStep


class Linear:
    """Scores x . encoder + bias in the compute dtype; `x` [B, K, 2] is a column. Dropout is on the input."""

    def __init__(self, dtype: str = "float32", rate: float = 0.0) -> None:
        self.dtype, self.rate = dtype, rate
        self.variables = {"encoder/w": tf.Variable([1.0, -2.0]), "head/b": tf.Variable([0.5])}

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        x = tf.cast(batch.columns["x"], self.dtype)
        if dropout is not None and self.rate:
            x = dropout.apply(x, self.rate)
        w, b = (tf.cast(self.variables[path], self.dtype) for path in ("encoder/w", "head/b"))
        return Outputs(tf.cast(tf.linalg.matvec(x, w) + b, tf.float32), {"x": tf.cast(x, tf.float32)})

    def outputs(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """The same: it has no base vectors."""
        return self(batch, dropout)


def squares(batch: Batch, outputs: Outputs, step: StepContext = StepContext()) -> Any:  # noqa: B008
    """[B]: the sum of the squared differences of scores and labels, halved."""
    return tf.reduce_sum(tf.square(outputs.scores - batch.labels), axis=1) / 2


SQUARES = Objective({TRAIN: ("squares", squares)})


def step_of(strategy: Any, model: Linear, parts: list[Optimizer], **options: Any) -> TrainingStep:
    """A step on the squares with seed 1 and one group per variable."""
    return TrainingStep(strategy, model, SQUARES, dict(zip(model.variables, parts, strict=True)), 1, **options)


def hooked(strategy: Any, model: Linear, parts: list[Optimizer], hooks: Sequence[Any], **options: Any) -> TrainingStep:
    """The same with hooks, given as in a config."""
    with strategy.scope():
        chosen = [component_from(HOOKS, hook) for hook in hooks]
        groups = [
            Group(path, GroupOptions(pattern=path, lr=1.0), part.members)
            for path, part in zip(model.variables, parts, strict=True)
        ]
        made = build_hooks(chosen, groups, 1)
    return with_hooks(strategy, model, parts, made, **options)


def with_hooks(
    strategy: Any, model: Linear, parts: list[Optimizer], hooks: Sequence[Hook], **options: Any
) -> TrainingStep:
    """The same with hooks that are built."""
    named = dict(zip(model.variables, parts, strict=True))
    return TrainingStep(
        strategy, model, Objective({TRAIN: ("squares", squares)}, hooks), named, 1, hooks=hooks, **options
    )


def inputs(
    step: TrainingStep,
    groups: int | dict[str, int],
    rates: Any,
    active: Any = (True, True),
    number: int = 0,
    **tasks: float,
) -> StepInputs:
    """The input of a step: the groups of a single task, or of each; weights are those of terms times `tasks`."""
    counts = groups if isinstance(groups, dict) else {TRAIN: groups}
    weights = [tasks.get(task, 1.0) * weight for task, weight in step.weights]
    given = {task: tf.constant(float(count)) for task, count in counts.items()}
    return StepInputs(tf.constant(number), given, tf.constant(weights), tf.constant(rates), tf.constant(active))


def measures(step: TrainingStep, done: Any) -> dict[str, float]:
    """The ratios that would be logged of a step alone."""
    return {name: total / count for name, (total, count) in step.measures_of(done).items()}


def batch(x: Any, labels: Any) -> dict[str, Batch]:
    """Of a single task, groups of the documents `x` [B, K, 2]."""
    x, labels = np.asarray(x, np.float32), np.asarray(labels, np.float32)
    return {TRAIN: Batch(labels, np.ones(labels.shape, bool), {"x": x}, {})}


def optimizers(model: Linear, name: str = "sgd", **options: Any) -> list[Optimizer]:
    """One group per variable."""
    made = OPTIMIZERS.get(name)(**options)
    return [made.build({path: Member(variable)}) for path, variable in model.variables.items()]


def bits(model: Linear, parts: list[Optimizer]) -> list[bytes]:
    """Every variable and slot, to the bit."""
    slots = [slot for part in parts for of in part.state.slots.values() for slot in of.values()]
    counts = [part.state.updates for part in parts]
    return [variable.numpy().tobytes() for variable in (*model.variables.values(), *slots, *counts)]
