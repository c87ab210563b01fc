"""Variables with initial values that depend on the seed and their own path, not on what was created before them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, TypeAlias

import numpy as np

from rankcli.backend import tf
from rankcli.errors import StorageError

Init: TypeAlias = Literal["normal", "zeros", "ones", "identity"] | tuple[float, ...]

_most: ContextVar[float] = ContextVar("_most", default=math.inf)


@contextmanager
def limit_variable_sizes(numbers: int) -> Iterator[None]:
    """Refuse variables larger than `numbers`, so that a forged config.json cannot exhaust memory."""
    token = _most.set(numbers)
    try:
        yield
    finally:
        _most.reset(token)


def variable(path: str, shape: tuple[int, ...], init: Init, seed: int, scale: float, trainable: bool = True) -> Any:
    """Return a float32 variable named `path`.

    `normal` is truncated at two standard deviations of `scale`; `identity` has 1 on the diagonal; a tuple has the
    initial values. StorageError where it is larger than `limit_variable_sizes` allows.
    """
    if math.prod(shape) > _most.get():
        raise StorageError(f"{path} has shape {list(shape)}, of which the weights hold only a part")
    if init == "normal":
        with tf.device("CPU:0"):
            value = tf.random.stateless_truncated_normal(shape, _key(seed, path), stddev=scale, alg="philox")
    elif init == "identity":
        value = np.eye(*shape, dtype=np.float32)
    elif isinstance(init, str):
        value = np.full(shape, init == "ones", np.float32)
    else:
        value = np.reshape(np.array(init, np.float32), shape)
    return tf.Variable(value, name=path, dtype=tf.float32, trainable=trainable)


def _key(seed: int, path: str) -> np.ndarray:
    return np.frombuffer(hashlib.sha256(f"{seed} {path}".encode()).digest()[:8], "<i4")
