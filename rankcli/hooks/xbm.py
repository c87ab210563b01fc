"""A memory of documents across batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.registry import HOOKS, LOSSES, component, option
from rankcli.config.types import NonNegativeInt, PositiveFloat, PositiveInt
from rankcli.errors import ConfigError
from rankcli.hooks.base import Hook, HookContext, HookOptions
from rankcli.schedules.ramp import Ramp
from rankcli.shapes import Batch, Memory, Outputs, StepContext
from rankcli.vectors import is_relevant, vectors_of


@HOOKS.register("xbm")
@dataclass(frozen=True, kw_only=True)
class CrossBatchMemory(HookOptions):
    """Adds weight x a loss that also compares with the documents of earlier batches.

    The last `size` documents are kept with their vectors as they were, which get no gradient (cross-batch memory: Wang
    et al., CVPR 2020). A document that is judged relevant to a query, or was relevant to it in an earlier batch, is no
    negative of it. The loss is 0 until documents are kept.
    """

    in_batch: ClassVar[bool] = True
    size: PositiveInt = option(4096, "documents that are kept, the latest ones")
    start: NonNegativeInt = option(0, "steps before any document is kept: vectors change most at first")
    weight: PositiveFloat | Ramp = option(1.0, "factor on its mean over the groups, or {start, end, iterations}")
    loss: Any = component(LOSSES, "infonce", "`infonce` or `triplet_margin`, which compare with a memory")

    def __post_init__(self) -> None:
        if not self.loss.remembers:
            raise ValueError(
                f"loss {LOSSES.name_of(self.loss)!r} compares with no documents of other groups, nor with a memory; "
                "use `infonce` or `triplet_margin`"
            )

    @property
    def losses(self) -> Mapping[str, Any]:
        """The loss that compares with the memory."""
        return {"loss": self.loss}

    def build(self, ctx: HookContext) -> Hook:
        """Build the hook with an empty memory. ConfigError if no step would use it."""
        if self.start + 1 >= ctx.steps:
            what = f"start = {self.start} leaves no step that uses the memory: the training has {ctx.steps}"
            raise ConfigError(what, where="trainer.hooks", fix="lower `start` of xbm, or train longer")
        return _Memory(self, ctx.width("doc"))


class _Memory(Hook):
    """A ring: document n of all that were ever kept lies in row n mod `size`, in the same order on every replica."""

    name = "xbm"

    def __init__(self, options: CrossBatchMemory, width: int) -> None:
        self.weight, self._size, self._start = options.weight, options.size, options.start
        self._loss = options.loss.build()
        self.state = tf.Module()
        self.state.vectors = tf.Variable(tf.zeros([self._size, width]), trainable=False)
        self.state.doc = tf.Variable(tf.zeros([self._size], tf.int64), trainable=False)
        self.state.pair = tf.Variable(tf.zeros([self._size], tf.int64), trainable=False)
        self.state.kept = tf.Variable(0, trainable=False, dtype=tf.int64)  # documents so far

    def loss(self, batch: Batch, outputs: Outputs, step: StepContext) -> Any:
        state = self.state
        real = tf.range(self._size, dtype=tf.int64) < state.kept
        memory = Memory(tf.stop_gradient(state.vectors), state.doc, state.pair, real)
        found = self._loss(batch, outputs, step._replace(memory=memory))
        return tf.where(state.kept > 0, found, 0.0)

    def after(self, batch: Batch, outputs: Outputs, step: StepContext) -> Mapping[str, Any]:
        rows = _documents(batch, outputs, step)
        count = tf.reduce_sum(tf.cast(rows.real, tf.int64))
        count = tf.where(tf.cast(step.number, tf.int64) >= self._start, count, 0)
        state = self.state
        place = (tf.range(self._size, dtype=tf.int64) - state.kept) % self._size  # of the first document for each row
        last = place + (count - 1 - place) // self._size * self._size  # of the last one that fits into the row
        order = tf.argsort(tf.cast(tf.logical_not(rows.real), tf.int32), stable=True)  # padding last
        chosen = tf.gather(order, tf.clip_by_value(last, 0, tf.size(order, tf.int64) - 1))
        new = place < count
        return {
            "vectors": tf.where(new[:, None], tf.gather(rows.vectors, chosen), state.vectors),
            "doc": tf.where(new, tf.gather(rows.doc, chosen), state.doc),
            "pair": tf.where(new, tf.gather(rows.pair, chosen), state.pair),
            "kept": state.kept + count,
        }


def _documents(batch: Batch, outputs: Outputs, step: StepContext) -> Memory:
    """Return the documents of all groups on all replicas; `real` is False for padding."""
    relevant = tf.where(is_relevant(batch), batch.keys.query[:, None] + batch.keys.doc, tf.zeros_like(batch.keys.doc))
    return Memory(
        vectors=_gathered(vectors_of(batch, outputs).docs, step),
        doc=_gathered(batch.keys.doc, step),
        pair=_gathered(relevant, step),
        real=_gathered(tf.cast(batch.doc_mask, tf.int32), step) > 0,
    )


def _gathered(part: Any, step: StepContext) -> Any:
    """Return the documents [N, ...] of all replicas' `part` [B, K, ...], in the order of the samples.

    Replicas take samples in turn, so the order is the same for any number of them.
    """
    shape = tf.shape(part)
    found = tf.reshape(step.gather(part), tf.concat([[-1], shape], axis=0))  # [R, B, K, ...]
    found = tf.transpose(found, [1, 0, *range(2, len(found.shape))])
    return tf.reshape(found, tf.concat([[-1], shape[2:]], axis=0))
