"""Kernels over similarities: soft counts of matches at several levels (Xiong et al., 2017)."""

from __future__ import annotations

import numpy as np

from rankcli.backend import tf
from rankcli.encoders.parameters import Parameters
from rankcli.encoders.weights import Weight
from rankcli.rerankers.ops import Tensor

MUS = np.array([-0.9, -0.7, -0.5, -0.3, -0.1, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0], np.float32)
SIGMAS = np.array([0.1] * 10 + [0.001], np.float32)  # the last kernel counts exact matches
FLOOR = 1e-10  # least soft count
SCALE = 0.01  # of logarithms: -23 for each missing word would drown everything else


def kernel_weights(trained: bool, exact: float = 0.001) -> list[Weight]:
    """Return the means and widths of the kernels; `exact` is the width of the last one."""
    sigmas = (*SIGMAS[:-1].tolist(), exact)
    return [
        Weight("kernels/mu", MUS.shape, ("kernels.mu",), tuple(MUS.tolist()), trainable=trained),
        Weight("kernels/sigma", SIGMAS.shape, ("kernels.sigma",), sigmas, trainable=trained),
    ]


def soft_counts(similarity: Tensor, doc_mask: Tensor, mus: Tensor, sigmas: Tensor) -> Tensor:
    """Return sum_j exp(-(S_ij - mu_k)^2 / (2 sigma_k^2)), [..., kernels], from S [..., Ld] and a mask of the last axis.

    Goes from kernel to kernel: all at once would need eleven times the memory.
    """
    counts = []
    for k in range(len(MUS)):
        kernel = tf.exp(-tf.square(similarity - mus[k]) / (2 * tf.square(sigmas[k])))
        counts.append(tf.reduce_sum(kernel * doc_mask, axis=-1))
    return tf.stack(counts, axis=-1)


def trained_counts(head: Parameters, similarity: Tensor, doc_mask: Tensor) -> Tensor:
    """Return the soft counts of kernels that are `kernel_weights`."""
    return soft_counts(similarity, doc_mask, head.exact("kernels/mu"), head.exact("kernels/sigma"))


def pooled(counts: Tensor, weight: Tensor, floor: float = FLOOR) -> Tensor:
    """Return 0.01 sum_i weight_i log max(K_ik, floor), [..., kernels], from counts [..., Lq, kernels].

    Not by `tf.einsum`: TensorFlow 2.20 writes beyond its memory on CPUs where one of its products is broadcast.
    """
    return SCALE * tf.reduce_sum(tf.math.log(tf.maximum(counts, floor)) * weight[..., None], axis=-2)
