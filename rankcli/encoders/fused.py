"""Attention for compilers that fuse operations: memory is moved as little as they can be brought to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from rankcli.backend import tf
from rankcli.encoders.recompute import after

Tensor: TypeAlias = Any


def attended(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor, drop: Callable[[Tensor], Tensor]) -> Tensor:
    """Return softmax(query keys^T + bias) values, [n, H, Q, h], with `drop` applied to the softmax.

    `bias` is float32 and can be broadcast to [n, H, Q, K]. `drop` must give the same values whenever it is called, and
    be linear. The gradient keeps no [Q, K] values: the backward pass computes the softmax again, from the greatest
    logit and the sum of each query, and its own row sums as products with the result (Dao et al. 2022, appendix B.2).
    """

    @tf.custom_gradient
    def compute(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Any:
        logits = _logits(query, keys, bias)
        top = tf.reduce_max(logits, axis=-1, keepdims=True)
        grown = tf.exp(logits - top)
        total = tf.reduce_sum(grown, axis=-1, keepdims=True)
        found = tf.cast(_exact(tf.matmul(drop(tf.cast(grown, query.dtype)), values)) / total, query.dtype)

        def backward(gradient: Tensor) -> tuple[Tensor, ...]:
            shares = tf.exp(_logits(after(gradient, query), keys, bias) - top) / total
            of_values = tf.matmul(drop(tf.cast(shares, query.dtype)), gradient, transpose_a=True)
            of_shares = drop(_exact(tf.matmul(gradient, values, transpose_b=True)))
            mean = tf.reduce_sum(_exact(gradient) * _exact(found), axis=-1, keepdims=True)
            of_logits = shares * (of_shares - mean)
            rounded = tf.cast(of_logits, query.dtype)
            of_keys = tf.matmul(rounded, query, transpose_a=True)
            return tf.matmul(rounded, keys), of_keys, of_values, _summed(of_logits, bias)

        return found, backward

    return compute(query, keys, values, bias)


def _logits(query: Tensor, keys: Tensor, bias: Tensor) -> Tensor:
    return _exact(tf.matmul(query, keys, transpose_b=True)) + bias


def _exact(x: Tensor) -> Tensor:
    return tf.cast(x, tf.float32)


def _summed(gradient: Tensor, of: Tensor) -> Tensor:
    """Return the gradient of what was broadcast: sums over the axes in which `of` has size 1."""
    axes = [axis for axis, size in enumerate(of.shape) if size == 1]
    return tf.reduce_sum(gradient, axis=axes, keepdims=True) if axes else gradient
