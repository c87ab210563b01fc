"""Dropout as a pure function of (seed, step, replica, micro-batch, layer): nothing to save, the same after a resume.

A stateful generator would have to be saved and restored to the bit at every checkpoint; Keras' generator is not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rankcli.backend import on_tpu, tf


class Dropout(NamedTuple):
    """The key of one forward pass, or of one layer in it: an int32 [2] tensor."""

    seed: Any

    @classmethod
    def of(cls, seed: int, step: Any, replica: Any = 0, micro_batch: Any = 0) -> Dropout:
        """Return the key of a forward pass; all arguments but `seed` may be integer tensors."""
        halves = np.array([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF], np.uint32)
        return cls(tf.constant(halves.view(np.int32))).fold(step).fold(replica).fold(micro_batch)

    def fold(self, n: Any) -> Dropout:
        """Return the key of part `n` (a layer, a step); keys of different parts are independent."""
        return Dropout(tf.random.experimental.stateless_fold_in(self.seed, tf.cast(n, tf.int32), alg="philox"))

    def apply(self, x: Any, rate: float) -> Any:
        """Set a share `rate` of the values of `x` to 0, and scale the rest to keep the mean; return `x` itself at rate
        0.

        The share is a multiple of 1/256 if its relative error, and that of the kept share, is at most 1/50; else a
        multiple of 1/65536. So each 32-bit draw serves four values or two, as drawing is most of the cost of dropout.
        Integers of a generator that is chosen by name are the same with and without XLA; floating-point numbers are
        not.
        """
        draw = tf.uint8 if abs(round(rate * 256) / 256 - rate) <= min(rate, 1 - rate) / 50 else tf.uint16
        steps = draw.max + 1
        threshold = round(rate * steps)
        if threshold == 0:
            return x
        kept, scale = self._kept(x, draw, threshold), tf.cast(steps / (steps - threshold), x.dtype)
        if on_tpu():  # a product with `kept` would be computed, and written, where draws are not in their places yet
            return tf.where(kept, x * scale, tf.zeros([], x.dtype))
        return x * (tf.cast(kept, x.dtype) * scale)

    def _kept(self, x: Any, draw: Any, threshold: int) -> Any:
        """Return true for each value of `x` that is kept: those whose integer of type `draw` is not below `threshold`.
        A word has several, the lowest bits first.
        """
        served, width = 4 // draw.size, 8 * draw.size
        if not on_tpu() or not x.shape.is_fully_defined() or x.shape[-1] % served:
            size = tf.size(x, tf.int64)  # 2^31 attention weights are within reach
            bits = self._words([-(-size // served)])
            draws = tf.reshape(tf.reshape(tf.bitcast(bits, draw), [-1])[:size], tf.shape(x))
            return draws >= tf.constant(threshold, draw)
        # A TPU would write a word of four bytes for each value of such a cast; the results of comparisons are bytes.
        words, lowest = self._words([*x.shape[:-1], x.shape[-1] // served]), tf.constant(draw.max, tf.uint32)
        draws = [tf.bitwise.right_shift(words, tf.constant(n * width, tf.uint32)) & lowest for n in range(served)]
        found = [tf.cast(tf.cast(each, tf.int32) >= threshold, tf.int8) for each in draws]
        return tf.reshape(tf.stack(found, axis=-1), x.shape) > 0

    def _words(self, shape: Any) -> Any:
        return tf.random.stateless_uniform(shape, self.seed, None, None, tf.uint32, alg="philox")
