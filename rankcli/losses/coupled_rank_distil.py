"""Distillation of orders that are drawn from a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, option
from rankcli.config.types import PositiveFloat, PositiveInt
from rankcli.losses._groups import real_pairs
from rankcli.losses.base import FLOOR, Loss, LossOptions, masked, weights_of
from rankcli.shapes import Batch, Outputs, StepContext


@LOSSES.register("coupled_rank_distil")
@dataclass(frozen=True, kw_only=True)
class CoupledRankDistil(LossOptions):
    """Distillation: likelihood of orders that are drawn from a teacher.

    Mean over drawn orders of the sum over the first `topk` places i of log(sum over j at or below i of e^s_j) - s_i.

    Orders are drawn from the Plackett-Luce model of the teacher's scores t / T, by adding Gumbel noise (Reddi et al.,
    "RankDistil", AISTATS 2021). The noise is a hash of step, device, group and place: a step that is repeated draws the
    same. TF-Ranking's version leaves out groups whose teacher's scores sum to 0 or less, this one does not. A
    document's term is multiplied by its `weight`.
    """

    min_docs: ClassVar[int] = 2
    columns: ClassVar[tuple[str, ...]] = ("teacher",)
    samples: PositiveInt = option(8, "orders drawn for each group")
    topk: PositiveInt | None = option(None, "places that count; default: all")
    temperature: PositiveFloat = option(1.0, "T; the lower, the nearer to the teacher's own order")

    def build(self) -> Loss:
        """Return the loss function."""

        def loss(batch: Batch, outputs: Outputs, step: StepContext) -> Any:
            scores = masked(batch, tf.cast(outputs.scores, tf.float32))
            teacher = masked(batch, batch.columns["teacher"]) / self.temperature
            drawn = [teacher + _gumbel(tf.shape(scores), step, n) for n in range(self.samples)]
            return tf.add_n([self._cost(batch, scores, order) for order in drawn]) / float(self.samples)

        return loss

    def _cost(self, batch: Batch, scores: Any, order: Any) -> Any:
        """Return -log of the likelihood of the order by descending `order`."""
        below = tf.logical_and(real_pairs(batch), order[:, None, :] <= order[:, :, None])
        tails = tf.reduce_logsumexp(tf.where(below, scores[:, None, :], FLOOR), axis=2)
        last = tf.reduce_sum(tf.cast(below, tf.int32), axis=2) < 2  # its term is 0, but for rounding
        terms = tf.where(last, 0.0, tails - scores)
        if self.topk is not None:
            above = tf.logical_and(real_pairs(batch), order[:, None, :] > order[:, :, None])
            first = tf.reduce_sum(tf.cast(above, tf.int32), axis=2) < self.topk
            terms = tf.where(first, terms, 0.0)
        return tf.reduce_sum(weights_of(batch) * terms, axis=1)


def _gumbel(shape: Any, step: StepContext, sample: int) -> Any:
    """Return Gumbel noise for each document, the same whatever is padded."""
    state = _mixed(tf.cast(step.number, tf.uint32) + tf.constant(sample * 0x9E3779B9 & 0xFFFFFFFF, tf.uint32))
    state = _mixed(state + tf.cast(step.replica, tf.uint32))
    groups = _mixed(state + tf.cast(tf.range(shape[0]), tf.uint32))[:, None]
    bits = _mixed(groups + tf.cast(tf.range(shape[1]), tf.uint32)[None, :])
    uniform = (tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) + 0.5) * 2.0**-24
    return -tf.math.log(-tf.math.log(uniform))


def _mixed(bits: Any) -> Any:
    """Return 32 bits that depend on all of `bits`: the finaliser of MurmurHash3 (Appleby, 2011), with an offset."""
    bits = bits + tf.constant(0x9E3779B9, tf.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits = tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint32)))
        bits = bits * tf.constant(factor, tf.uint32)
    return tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.constant(16, tf.uint32)))
