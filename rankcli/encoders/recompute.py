"""Values that gradients need, computed again instead of kept (Chen et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from rankcli.backend import tf

Tensor: TypeAlias = Any


def recomputed(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return `function(x)`. Its gradient keeps only `x`, and calls `function` again.

    Gradients reach `x` and the variables that `function` reads.
    """

    @tf.custom_gradient
    def compute(x: Tensor) -> Any:
        def backward(gradient: Tensor, variables: Any = None) -> Any:
            read = list(variables or ())
            with tf.GradientTape() as tape:
                again = after(gradient, x)
                tape.watch([again, *read])
                found = function(again)
            zero = tf.UnconnectedGradients.ZERO
            own, *others = tape.gradient(found, [again, *read], gradient, unconnected_gradients=zero)
            return (own, others) if variables is not None else own

        return function(x), backward

    return compute(x)


def after(gradient: Tensor, x: Tensor) -> Tensor:
    """Return `x`, as it is once `gradient` is there.

    What is computed from it is computed again. Without a dependence on `gradient` that a compiler cannot resolve, XLA
    takes what was computed before, and keeps it until then. If `gradient` begins with no number, the result is none.
    """
    first = tf.cast(tf.reshape(gradient, [-1])[:1], tf.float32)
    return x + tf.cast(tf.reduce_sum(tf.minimum(tf.square(first), 0.0)), x.dtype)
