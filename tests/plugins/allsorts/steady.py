"""Scores kept near their running mean, which is the state of a hook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.api import Batch, Hook, HookContext, HookOptions, Outputs, PositiveFloat, StepContext, masked, option, tf


@dataclass(frozen=True, kw_only=True)
class Steady(HookOptions):
    """weight x (mean score of a group - running mean)^2; the running mean moves by a tenth each step."""

    version: ClassVar[int] = 1
    weight: PositiveFloat = option(0.1, "factor of the penalty")

    def build(self, ctx: HookContext) -> Hook:
        return SteadyHook(self.weight)


class SteadyHook(Hook):
    """The running mean of the scores of all replicas."""

    name = "steady"
    measures = ("steady/score",)

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.state = tf.Module()
        self.state.mean = tf.Variable(0.0, trainable=False, name="mean")

    def loss(self, batch: Batch, outputs: Outputs, step: StepContext) -> Any:
        return tf.square(_means(batch, outputs) - self.state.mean)

    def measure(self, batch: Batch, outputs: Outputs, step: StepContext) -> Mapping[str, tuple[Any, Any]]:
        means = _means(batch, outputs)
        return {"steady/score": (tf.reduce_sum(means), tf.cast(tf.size(means), tf.float32))}

    def after(self, batch: Batch, outputs: Outputs, step: StepContext) -> Mapping[str, Any]:
        mean = tf.reduce_mean(step.gather(_means(batch, outputs)))
        return {"mean": 0.9 * self.state.mean + 0.1 * mean}


def _means(batch: Batch, outputs: Outputs) -> Any:
    count = tf.maximum(tf.reduce_sum(tf.cast(batch.doc_mask, tf.float32), axis=1), 1.0)
    return tf.reduce_sum(masked(batch, outputs.scores), axis=1) / count
