"""A reranker that is one product: gradients by hand, losses that a test sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rankcli.backend import tf
from rankcli.config.registry import HOOKS, OPTIMIZERS
from rankcli.config.validate import component_from
from rankcli.encoders.dropout import Dropout
from rankcli.hooks.base import ScoreLoss
from rankcli.optimizers.base import Member, Optimizer
from rankcli.shapes import Batch
from rankcli.training.base import TRAIN, Share
from rankcli.training.groups import Group, GroupOptions
from rankcli.training.hooks import build_hooks
from rankcli.training.objective import Objective
from rankcli.training.step import TrainingStep


class Linear:
    """Scores x . encoder + bias in the compute dtype; `x` [B, K, 2] is a column. Dropout is on the input."""

    def __init__(self, dtype: str = "float32", rate: float = 0.0) -> None:
        self.dtype, self.rate = dtype, rate
        self.variables = {"encoder/w": tf.Variable([1.0, -2.0]), "head/b": tf.Variable([0.5])}

    def scores(self, batch: Batch, dropout: Dropout | None = None) -> Any:
        x = tf.cast(batch.columns["x"], self.dtype)
        if dropout is not None and self.rate:
            x = dropout.apply(x, self.rate)
        w, b = (tf.cast(self.variables[path], self.dtype) for path in ("encoder/w", "head/b"))
        return tf.cast(tf.linalg.matvec(x, w) + b, tf.float32)


def squares(batch: Batch, scores: Any) -> Any:
    """[B]: the sum of the squared differences of scores and labels, halved."""
    return tf.reduce_sum(tf.square(scores - batch.labels), axis=1) / 2


SQUARES = Objective({TRAIN: [ScoreLoss("squares", 1.0, squares)]})


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
        made = build_hooks(chosen, groups, "logits")
    objective = Objective({TRAIN: [ScoreLoss("squares", 1.0, squares), *made.losses]})
    named = dict(zip(model.variables, parts, strict=True))
    changes = {"penalties": made.penalties, "hooks": made.gradients}
    return TrainingStep(strategy, model, objective, named, 1, **changes, **options)


def shares(groups: int) -> dict[str, Share]:
    """A single task of `groups` groups and weight 1."""
    return {TRAIN: Share(tf.constant(float(groups)), tf.constant(1.0))}


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
