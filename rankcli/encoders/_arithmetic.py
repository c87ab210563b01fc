"""What lies between an encoder's products, in as few passes over memory as TensorFlow can be brought to make.

For training, gradients are written out. For prediction there are forms that oneDNN has a kernel for. All compute in
float32, whatever the dtype of `x`.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from rankcli.backend import compiled_in_silence, tf

COMPILED_FROM = 512  # values per token


def affine(x: Any, kernel: Any, bias: Any = None) -> Any:
    """`x` [T, I] times `kernel` [I, O], plus `bias` [O] if there is one, all of one dtype.

    The gradient of the bias is a product, too: what TensorFlow derives sums up thousands of tokens in bfloat16, and is
    wrong by half its size.
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
    """x Phi(x) of `x` [T, I], for training.

    In prediction `tf.nn.gelu` costs next to nothing, for TensorFlow makes it a part of the matrix product before it.
    Here the product itself is needed too, for the gradient: Phi(x) + x phi(x). On CPUs both are compiled by XLA, which
    goes through memory once and not a dozen times; once for each T, in some 30 ms, which a narrow `x` does not repay.
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
    """Phi(x), by `erf`: TensorFlow takes `erfc` one value at a time."""
    return 0.5 + 0.5 * tf.math.erf(x * math.sqrt(0.5))


def softmax(x: Any, bias: Any, training: bool) -> Any:
    """The softmax of `x` + `bias` (float32) over the last axis, in the dtype of `x`."""
    if not training and _has_exact_softmax(x.dtype):
        return tf.nn.softmax(x + tf.cast(bias, x.dtype))
    return tf.cast(tf.nn.softmax(tf.cast(x, tf.float32) + bias), x.dtype)


@functools.cache
def _has_exact_softmax(dtype: Any) -> bool:
    """Whether TensorFlow's softmax of this dtype computes in float32 and rounds at the end, as oneDNN's does and its
    own on CPUs does not. It is tried out, since nothing says which one there is.
    """
    with tf.init_scope():
        tried = tf.cast(tf.linspace(-8.0, 8.0, 1000), dtype)
        exact = tf.cast(tf.nn.softmax(tf.cast(tried, tf.float32)), dtype)
        return bool(tf.reduce_all(tf.nn.softmax(tried) == exact))


def norm(x: Any, gamma: Any, beta: Any, epsilon: float, training: bool) -> Any:
    """Layer normalisation of `x` [T, D], with `gamma` and `beta` [D] in float32 (Ba et al. 2016); None is no offset."""
    beta = tf.zeros_like(gamma) if beta is None else beta
    if not training and x.dtype in (tf.bfloat16, tf.float32) and on_cpu():
        return _fused_norm(x, gamma, beta, epsilon)
    return _trained_norm(x, gamma, beta, epsilon)


def rms_norm(x: Any, gamma: Any, epsilon: float) -> Any:
    """`x` [T, D] over its root mean square, times `gamma` [D] in float32 (Zhang and Sennrich 2019)."""
    exact = tf.cast(x, tf.float32)
    scale = tf.math.rsqrt(tf.reduce_mean(tf.square(exact), axis=-1, keepdims=True) + epsilon)
    return tf.cast(exact * scale * gamma, x.dtype)


def on_cpu() -> bool:
    """Whether there are no devices but CPUs."""
    return {device.device_type for device in tf.config.list_logical_devices()} == {"CPU"}


def _fused_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Written in the operations that TensorFlow puts oneDNN's layer normalisation in the place of: a normalisation of
    batches in which the tokens are the channels, and then an affine map in the dtype of `x`.
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
            weights = gamma[:, None] / gamma.shape[0]  # sums over the last axis as products, which are fast
            rest = upper * gamma - tf.matmul(upper, weights) - normed * tf.matmul(projected, weights)
            return tf.cast(rest * scale, x.dtype), tf.reduce_sum(projected, axis=0), tf.reduce_sum(upper, axis=0)

        return tf.cast(normed * gamma + beta, x.dtype), backward

    return compute(x, tf.convert_to_tensor(gamma), tf.convert_to_tensor(beta))
