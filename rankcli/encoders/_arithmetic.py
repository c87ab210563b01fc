"""Bias, GELU, softmax and layer norm, fused where TensorFlow allows.

For training, gradients are written out. For prediction, the forms are those that oneDNN has a kernel for. All compute
in float32, for any dtype of `x`.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from rankcli.backend import compiled_in_silence, on_cpu, on_tpu, tf

COMPILED_FROM = 512  # values per token


def affine(x: Any, kernel: Any, bias: Any = None) -> Any:
    """Return `x` [T, I] times `kernel` [I, O], plus `bias` [O] if given, all of one dtype.

    The gradient of the bias is written as a matrix product, too. TensorFlow's own gradient adds up thousands of tokens
    in bfloat16, and is wrong by half its size.
    """

    if bias is None:
        return tf.matmul(x, kernel)

    @tf.custom_gradient
    def compute(x: Any, kernel: Any, bias: Any) -> Any:
        def backward(gradient: Any) -> tuple[Any, Any, Any]:
            ones = tf.ones([1, tf.shape(gradient)[0]], gradient.dtype)
            return (
                tf.matmul(gradient, kernel, transpose_b=True),
                tf.matmul(x, gradient, transpose_a=True),
                tf.matmul(ones, gradient)[0],
            )

        return tf.nn.bias_add(tf.matmul(x, kernel), bias), backward

    return compute(x, kernel, bias)


def gelu(x: Any) -> Any:
    """Return x Phi(x) for `x` [T, I], for training.

    In prediction, `tf.nn.gelu` costs almost nothing, because TensorFlow fuses it into the matrix product before it. In
    training, the result of that product is needed for the gradient Phi(x) + x phi(x), too. On CPUs, XLA compiles both,
    so that they read memory once and not a dozen times. It compiles once for each T, in about 30 ms, which is too long
    for a narrow `x`.
    """
    if on_cpu() and x.shape[-1] >= COMPILED_FROM:
        compiled_in_silence()
        forward, backward = _compiled_gelu()
    else:
        forward, backward = _gelu, _gelu_gradient

    @tf.custom_gradient
    def compute(x: Any) -> Any:
        return forward(x), lambda gradient: backward(x, gradient)

    return compute(x)


@functools.cache
def _compiled_gelu() -> tuple[Any, Any]:
    return tuple(tf.function(part, jit_compile=True, autograph=False) for part in (_gelu, _gelu_gradient))


def _gelu(x: Any) -> Any:
    exact = tf.cast(x, tf.float32)
    return tf.cast(exact * _normal_share(exact), x.dtype)


def _gelu_gradient(x: Any, gradient: Any) -> Any:
    exact = tf.cast(x, tf.float32)
    density = tf.exp(tf.square(exact) * -0.5) * (1 / math.sqrt(2 * math.pi))
    return tf.cast(tf.cast(gradient, tf.float32) * (_normal_share(exact) + exact * density), x.dtype)


def _normal_share(x: Any) -> Any:
    """Return Phi(x), computed with `erf`, because TensorFlow's `erfc` is not vectorised."""
    return 0.5 + 0.5 * tf.math.erf(x * math.sqrt(0.5))


def softmax(x: Any, bias: Any, training: bool) -> Any:
    """Return the softmax of `x` + `bias` (float32) over the last axis, in the dtype of `x`."""
    if not training and not on_tpu() and _has_exact_softmax(x.dtype):
        return tf.nn.softmax(x + tf.cast(bias, x.dtype))
    return tf.cast(tf.nn.softmax(tf.cast(x, tf.float32) + bias), x.dtype)


@functools.cache
def _has_exact_softmax(dtype: Any) -> bool:
    """Tell whether TensorFlow's softmax of this dtype computes in float32 and rounds at the end.

    oneDNN's kernel does so, TensorFlow's own on CPUs does not. A test computation decides, since TensorFlow does not
    tell which kernel it uses.
    """
    with tf.init_scope():
        tried = tf.cast(tf.linspace(-8.0, 8.0, 1000), dtype)
        exact = tf.cast(tf.nn.softmax(tf.cast(tried, tf.float32)), dtype)
        return bool(tf.reduce_all(tf.nn.softmax(tried) == exact))


def norm(x: Any, gamma: Any, beta: Any, epsilon: float, training: bool) -> Any:
    """Return the layer normalisation of `x` [T, D], with `gamma` and `beta` [D] in float32 (Ba et al. 2016).

    Without `beta` (None), nothing is added.
    """
    if not training and beta is not None and x.dtype in (tf.bfloat16, tf.float32) and on_cpu():
        return _fused_norm(x, gamma, beta, epsilon)
    return _trained_norm(x, gamma, tf.zeros_like(gamma) if beta is None else beta, epsilon)


def rms_norm(x: Any, gamma: Any, epsilon: float) -> Any:
    """Return `x` [T, D] divided by its root mean square, times `gamma` [D] in float32 (Zhang and Sennrich 2019)."""
    exact = tf.cast(x, tf.float32)
    scale = tf.math.rsqrt(tf.reduce_mean(tf.square(exact), axis=-1, keepdims=True) + epsilon)
    return tf.cast(exact * scale * gamma, x.dtype)


def _fused_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Compute layer normalisation in the operations that TensorFlow replaces by oneDNN's kernel.

    They are a batch normalisation with tokens as channels, and then an affine map in the dtype of `x`. `gamma` and
    `beta` must not be constants: TensorFlow drops a product with ones and a sum with zeros, replaces the rest all the
    same, and the kernel writes beyond its memory.
    """
    shape = tf.shape(x)
    tokens = tf.reshape(x, [1, shape[0], shape[1], 1])
    scale, offset = (tf.fill([shape[0]], tf.constant(value)) for value in (1.0, 0.0))
    none = tf.constant([], tf.float32)
    normed, *_ = tf.raw_ops.FusedBatchNormV3(
        x=tokens, scale=scale, offset=offset, mean=none, variance=none, epsilon=epsilon, data_format="NCHW"
    )
    normed = tf.reshape(normed, shape)
    normed.set_shape(x.shape)
    return normed * tf.cast(gamma, x.dtype) + tf.cast(beta, x.dtype)


def _trained_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:

    @tf.custom_gradient
    def compute(x: Any, gamma: Any, beta: Any) -> Any:
        exact = tf.cast(x, tf.float32)
        centred = exact - tf.reduce_mean(exact, axis=-1, keepdims=True)
        scale = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True) + epsilon)
        normed = centred * scale

        def backward(gradient: Any) -> tuple[Any, Any, Any]:
            upper = tf.cast(gradient, tf.float32)
            projected = upper * normed
            # sums over the last axis are written as products, which are faster
            weights = gamma[:, None] / gamma.shape[0]
            rest = upper * gamma - tf.matmul(upper, weights) - normed * tf.matmul(projected, weights)
            return tf.cast(rest * scale, x.dtype), tf.reduce_sum(projected, axis=0), tf.reduce_sum(upper, axis=0)

        return tf.cast(normed * gamma + beta, x.dtype), backward

    return compute(x, tf.convert_to_tensor(gamma), tf.convert_to_tensor(beta))
