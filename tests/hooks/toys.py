"""A hook and losses that stand for those of other packages: with a state, measured, and across a whole batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from rankcli.backend import tf
from rankcli.config.registry import HOOKS, LOSSES
from rankcli.hooks.base import Hook, HookContext, HookOptions
from rankcli.losses.base import Loss, LossOptions
from rankcli.shapes import Batch, Outputs, StepContext

MADE: list[RunningMean] = []


class RunningMean(Hook):
    """Pulls scores to their running mean, which it keeps; measures the scores of relevant documents."""

    name = "pull"
    weight = 0.5
    measures = ("pull/relevant",)

    def __init__(self) -> None:
        self.state = tf.Module()
        self.state.mean = tf.Variable(0.0, trainable=False)
        self.state.steps = [tf.Variable(0, trainable=False)]

    def loss(self, batch: Batch, outputs: Outputs, step: StepContext) -> Any:
        """[B]: the sum of the squared distances."""
        return tf.reduce_sum(tf.square(outputs.scores - self.state.mean), axis=1)

    def measure(self, batch: Batch, outputs: Outputs, step: StepContext) -> Mapping[str, tuple[Any, Any]]:
        """The sum and the number of the scores."""
        relevant = tf.cast(batch.labels > 0, tf.float32)
        return {"pull/relevant": (tf.reduce_sum(relevant * outputs.scores), tf.reduce_sum(relevant))}

    def after(self, batch: Batch, outputs: Outputs, step: StepContext) -> Mapping[str, Any]:
        """The mean of the whole batch counts for a quarter."""
        mean = 0.75 * self.state.mean + 0.25 * tf.reduce_mean(step.gather(outputs.scores))
        return {"mean": mean, "steps": [self.state.steps[0] + 1]}


@dataclass(frozen=True, kw_only=True)
class RunningMeanOptions(HookOptions):
    """Options without any."""

    def build(self, ctx: HookContext) -> Hook:
        """Make it, and remember it."""
        MADE.append(RunningMean())
        return MADE[-1]


@dataclass(frozen=True, kw_only=True)
class MemoryOptions(RunningMeanOptions):
    """The same, said to compare the groups of a batch."""

    in_batch: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Across(LossOptions):
    """sum_j (j + 1) s_j s_b over the groups j of the whole batch in their order, plus the sum of all their labels."""

    in_batch: ClassVar[bool] = True

    def build(self) -> Loss:
        """The function."""

        def loss(batch: Batch, outputs: Outputs, step: StepContext) -> Any:
            others, labels = step.gather(outputs.scores[:, 0]), step.gather(tf.cast(batch.labels[:, 0], tf.int32))
            place = tf.cast(tf.range(tf.size(others)) + 1, tf.float32)
            return outputs.scores[:, 0] * tf.reduce_sum(place * others) + tf.cast(tf.reduce_sum(labels), tf.float32)

        return loss


@dataclass(frozen=True, kw_only=True)
class Needy(Across):
    """One that nothing gives what it reads."""

    in_batch: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ("scores", "doc")
    columns: ClassVar[tuple[str, ...]] = ("teacher",)


def register(patch: pytest.MonkeyPatch) -> None:
    """Make them known until the patch is undone."""
    for registry, name, options in (
        (HOOKS, "running_mean", RunningMeanOptions),
        (HOOKS, "memory", MemoryOptions),
        (LOSSES, "across", Across),
        (LOSSES, "needy", Needy),
    ):
        registry.names()
        patch.setitem(registry._options, name, options)
